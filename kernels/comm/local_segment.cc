#include "kernels/comm/local_segment.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/check.h"
#include "common/status.h"

namespace pagoda {
namespace {

uint64_t RandomToken() {
  uint64_t token = 0;
  CHECK_EQ(getrandom(&token, sizeof(token), 0), static_cast<ssize_t>(sizeof(token)));
  return token;
}

std::string LinkTarget(const char* path) {
  char target[64] = {};
  const ssize_t size = readlink(path, target, sizeof(target));
  return std::string(target, size > 0 ? size : 0);
}

std::string FirstLine(const char* path) {
  char line[64] = {};
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "";
  const ssize_t size = read(fd, line, sizeof(line));
  close(fd);
  return std::string(line, strnlen(line, size > 0 ? size : 0)).substr(0, 36);
}

}  // namespace

absl::StatusOr<LocalSegment> LocalSegment::Map(int fd, std::string name) {
  void* const memory = mmap(nullptr, sizeof(Layout), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) {
    const int error = errno;
    close(fd);
    return absl::ResourceExhaustedError(
        absl::StrCat(sizeof(Layout), " bytes of shared memory: ", std::strerror(error)));
  }
  return LocalSegment(fd, static_cast<Layout*>(memory), std::move(name));
}

absl::StatusOr<LocalSegment> LocalSegment::Create() {
  const int fd = memfd_create("pagoda-comm", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, sizeof(Layout)) != 0) {
    const int error = errno;
    if (fd >= 0) close(fd);
    return absl::ResourceExhaustedError(
        absl::StrCat(sizeof(Layout), " bytes of shared memory: ", std::strerror(error)));
  }
  const uint64_t token = RandomToken();
  ASSIGN_OR_RETURN(LocalSegment segment, Map(fd, absl::StrCat(getpid(), "/", fd, "/", token)));
  segment->token = token;  // the rest is zero
  return segment;
}

absl::StatusOr<LocalSegment> LocalSegment::Attach(const std::string& name) {
  const std::vector<std::string> parts = absl::StrSplit(name, '/');
  int pid = 0, number = 0;
  uint64_t token = 0;
  if (parts.size() != 3 || !absl::SimpleAtoi(parts[0], &pid) ||
      !absl::SimpleAtoi(parts[1], &number) || !absl::SimpleAtoi(parts[2], &token)) {
    return absl::FailedPreconditionError(absl::StrCat("\"", name, "\" names no shared memory"));
  }
  const std::string path = absl::StrCat("/proc/", pid, "/fd/", number);
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  struct stat file = {};
  if (fd < 0 || fstat(fd, &file) != 0 || file.st_size != sizeof(Layout)) {
    if (fd >= 0) close(fd);
    return absl::FailedPreconditionError(
        absl::StrCat("the shared memory of process ", pid, " is not there"));
  }
  ASSIGN_OR_RETURN(LocalSegment segment, Map(fd, name));
  if (segment->token != token) {
    return absl::FailedPreconditionError(
        absl::StrCat("the shared memory of process ", pid, " is another one"));
  }
  return segment;
}

LocalSegment::LocalSegment(LocalSegment&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      layout_(std::exchange(other.layout_, nullptr)),
      name_(std::move(other.name_)) {}

LocalSegment& LocalSegment::operator=(LocalSegment&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(layout_, other.layout_);
  std::swap(name_, other.name_);
  return *this;
}

LocalSegment::~LocalSegment() {
  if (fd_ < 0) return;
  munmap(layout_, sizeof(Layout));
  close(fd_);
}

std::string HostIdentity() {
  return absl::StrCat(FirstLine("/proc/sys/kernel/random/boot_id"),
                      "/",
                      LinkTarget("/proc/self/ns/pid"),
                      "/",
                      geteuid());
}

}  // namespace pagoda
