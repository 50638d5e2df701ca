#include "worker/service/supervision.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"

namespace pagoda {

absl::Status DieWithSupervisor(int status_fd) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
    return absl::InternalError(absl::StrCat("prctl: ", std::strerror(errno)));
  }
  // A supervisor that died before the line above sends no signal, but the pipe is broken.
  pollfd pipe = {.fd = status_fd, .events = POLLOUT, .revents = 0};
  if (poll(&pipe, 1, 0) != 1 || (pipe.revents & (POLLERR | POLLNVAL)) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("--status-fd ", status_fd, " is no pipe to a living supervisor"));
  }
  return absl::OkStatus();
}

void Report(int status_fd, absl::string_view line) {
  if (status_fd < 0) return;
  const std::string text = absl::StrCat(line, "\n");
  while (write(status_fd, text.data(), text.size()) < 0 && errno == EINTR) {
  }
}

}  // namespace pagoda
