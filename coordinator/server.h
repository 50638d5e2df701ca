// The coordinator process put together: engine, text threads, the link to the group, the entrance,
// status lines.
#pragma once

#include <signal.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/server_flags.h"

namespace pagoda {

struct CoordinatorOptions {
  ServerFlags flags;
  std::string model;  // directory
  // gRPC addresses, by rank; the ranks beyond announce themselves. At most tensor_parallel_size.
  std::vector<std::string> workers;
  // Where reports for the supervisor go, a line each: "ready PORT" once a group is open and clients
  // are served, "suspect RANK REASON" when a worker should be killed. -1: nowhere.
  int status_fd = -1;
};

// Serves until SIGTERM or SIGINT (`signals`, blocked in every thread), then drains: refuses new
// requests, waits for the unfinished ones up to --drain-timeout; a second signal ends at once. An
// error says why it cannot serve.
absl::Status RunCoordinator(const CoordinatorOptions& options, const sigset_t& signals);

}  // namespace pagoda
