// What a worker owes the supervisor that started it with --status-fd.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace pagoda {

// This process is killed when the thread that forked it ends. FAILED_PRECONDITION when `status_fd`
// is no pipe to a living supervisor.
absl::Status DieWithSupervisor(int status_fd);

// Writes `line` and a line feed in one write(2). A supervisor that is gone does not matter: so are
// we, soon. -1 writes nothing.
void Report(int status_fd, absl::string_view line);

}  // namespace pagoda
