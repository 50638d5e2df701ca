// A server for this process alone: a supervisor in a thread of its own, gone with this object.
#pragma once

#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "client/cli/supervisor/supervisor.h"

namespace pagoda {

class PrivateServer {
 public:
  // REQUIRES: Supervisor::BlockSignals() was called.
  explicit PrivateServer(Supervisor::Options options);
  ~PrivateServer();

  // The address, once it serves; else why it never will.
  absl::StatusOr<std::string> WaitUntilServing() { return supervisor_.WaitUntilServing(); }

  // The process of a rank; 0 when there is none now.
  pid_t WorkerPid(size_t rank) { return supervisor_.WorkerPid(rank); }

  // Ends it, once. What had ended it before, else OK.
  absl::Status End();

 private:
  Supervisor supervisor_;
  absl::Status result_;  // of the thread, after joining
  std::thread thread_;
};

}  // namespace pagoda
