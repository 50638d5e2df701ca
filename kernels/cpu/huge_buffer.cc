#include "kernels/cpu/huge_buffer.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace pagoda::cpu {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

}  // namespace

absl::StatusOr<HugeBuffer> HugeBuffer::Make(size_t bytes) {
  HugeBuffer buffer;
  if (bytes == 0) return buffer;
  const size_t slack = bytes >= kHugePage ? kHugePage : 0;
  if (bytes > SIZE_MAX - slack) {
    return absl::ResourceExhaustedError(absl::StrCat("cannot map ", bytes, " bytes"));
  }
  void* map =
      mmap(nullptr, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cannot map ", bytes, " bytes of memory: ", std::strerror(errno)));
  }
  buffer.map_ = map;
  buffer.map_bytes_ = bytes + slack;
  buffer.bytes_ = bytes;
  buffer.data_ = static_cast<std::byte*>(map);
  if (slack > 0) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(map);
    buffer.data_ += (kHugePage - address % kHugePage) % kHugePage;
    // Advice: where huge pages are off, small ones do.
    (void)madvise(buffer.data_, bytes, MADV_HUGEPAGE);
  }
  return buffer;
}

HugeBuffer::~HugeBuffer() {
  if (map_ != nullptr) munmap(map_, map_bytes_);
}

}  // namespace pagoda::cpu
