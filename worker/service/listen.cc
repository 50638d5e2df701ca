#include "worker/service/listen.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "common/status.h"

namespace pagoda {
namespace {

constexpr char kUnix[] = "unix:";

struct HostPort {
  std::string host;
  uint32_t port = 0;
};

absl::StatusOr<HostPort> SplitHostPort(const std::string& address) {
  HostPort split;
  const size_t colon = address.rfind(':');
  if (colon != std::string::npos && colon > 0 &&
      absl::SimpleAtoi(address.substr(colon + 1), &split.port) && split.port <= 65535) {
    split.host = address.substr(0, colon);
    return split;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the address is ", address, "; it must be host:port or unix:/path"));
}

// Whether a process accepts connections on the socket file.
bool IsAlive(const sockaddr_un& address) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return false;
  const auto close_fd = absl::MakeCleanup([fd] { close(fd); });
  // A full backlog (EAGAIN) is somebody's, too.
  return connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 ||
         errno == EAGAIN || errno == EINPROGRESS;
}

absl::Status PrepareUnixPath(absl::string_view path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("the socket's path has ",
                                                   path.size(),
                                                   " bytes: 1 to ",
                                                   sizeof(address.sun_path) - 1,
                                                   " are possible"));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  struct stat found = {};
  if (lstat(address.sun_path, &found) != 0) return absl::OkStatus();
  if (!S_ISSOCK(found.st_mode)) {
    return absl::AlreadyExistsError(absl::StrCat(path, " exists and is no socket"));
  }
  if (IsAlive(address)) {
    return absl::AlreadyExistsError(absl::StrCat("another process listens on ", path));
  }
  unlink(address.sun_path);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<WorkerServer> Listen(const std::string& address, grpc::Service* service) {
  absl::string_view path = address;
  const bool is_unix = absl::ConsumePrefix(&path, kUnix);
  HostPort host_port;
  if (is_unix) {
    RETURN_IF_ERROR(PrepareUnixPath(path));
  } else {
    ASSIGN_OR_RETURN(host_port, SplitHostPort(address));
  }
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
  // Two workers on one port would share its connections.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.SetMaxReceiveMessageSize(-1);
  builder.SetMaxSendMessageSize(-1);
  builder.RegisterService(service);
  WorkerServer listening = {.server = builder.BuildAndStart(), .address = address};
  if (listening.server == nullptr || port == 0) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", address));
  }
  if (!is_unix) listening.address = absl::StrCat(host_port.host, ":", port);
  return listening;
}

absl::Status CheckReachable(const std::string& address) {
  absl::string_view path = address;
  if (absl::ConsumePrefix(&path, kUnix)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const HostPort split, SplitHostPort(address));
  if (split.host != "0.0.0.0" && split.host != "[::]" && split.host != "*") return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--connect announces the address of --listen, and nobody can dial ",
                   split.host));
}

}  // namespace pagoda
