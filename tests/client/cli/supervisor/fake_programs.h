// A directory with shell scripts in place of pagoda-worker and pagoda-coordinator, and a supervisor
// over them that runs in a thread.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/string_view.h"
#include "client/cli/supervisor/private_dir.h"
#include "client/cli/supervisor/supervisor.h"
#include "common/mutex.h"

namespace pagoda {

class FakePrograms {
 public:
  FakePrograms();

  // The bodies of the scripts. $dir is this directory; descriptor 3 takes reports.
  void Worker(absl::string_view body) { Write("pagoda-worker", body); }
  void Coordinator(absl::string_view body) { Write("pagoda-coordinator", body); }

  const std::string& path() const { return directory_->path(); }
  // A file that a script wrote; empty when there is none.
  std::string Read(absl::string_view name) const;

 private:
  void Write(absl::string_view name, absl::string_view body);

  std::unique_ptr<PrivateDir> directory_;
};

class RunningSupervisor {
 public:
  explicit RunningSupervisor(const FakePrograms& programs, bool drain = true);
  // Of a group of `ranks`, `local` of them on this host (0: all).
  RunningSupervisor(const FakePrograms& programs, int64_t ranks, int64_t local);
  // Ends the supervisor at once if it still runs.
  ~RunningSupervisor();

  Supervisor* operator->() { return &supervisor_; }
  absl::Status Join();

  // Waits for the `count`th log line that begins with `prefix`; answers the rest of it.
  std::string WaitForLine(absl::string_view prefix, int count = 1);

 private:
  RunningSupervisor(const FakePrograms& programs, Supervisor::Options options);
  void Log(absl::string_view line);

  Mutex mutex_;
  CondVar changed_;
  std::vector<std::string> lines_ ABSL_GUARDED_BY(mutex_);
  absl::Status result_;  // Run's, after joining
  Supervisor supervisor_;
  std::thread thread_;
};

// Of our own or, once their parent is dead, of anybody.
bool ProcessExists(const std::string& pid);

}  // namespace pagoda
