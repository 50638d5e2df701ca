// Keeps a server alive: starts the pagoda-workers of this host and pagoda-coordinator, replaces a
// worker that dies, ends when the coordinator does or when told to. Whatever happens, no process is
// left.
//
// Everything happens on the thread inside Run, which waits in one poll.
#pragma once

#include <csignal>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cli/supervisor/child.h"
#include "client/cli/supervisor/line_reader.h"
#include "client/cli/supervisor/private_dir.h"
#include "common/mutex.h"
#include "common/server_flags.h"

namespace pagoda {

class Supervisor {
 public:
  struct Options {
    std::string programs;  // the directory of pagoda-worker and pagoda-coordinator
    std::string model;     // directory
    ServerFlags flags;
    // Ranks that run on this host, from rank 0; the others join from elsewhere. 0: all.
    int64_t local_workers = 0;
    // What the processes log, line by line, on Run's thread; null: nobody cares.
    std::function<void(absl::string_view line)> log;
    // Being told to stop lets unfinished requests finish; being told again does not.
    bool drain = true;
  };

  explicit Supervisor(Options options);

  // SIGTERM, SIGINT and SIGHUP are read by Run, so no thread may take them. Before other threads
  // start.
  static void BlockSignals();

  // Serves until told to stop, which is OK. Else what ended it: a coordinator's death, a worker's
  // before its rank was ever ready, kMaxDeaths of workers without one step. REQUIRES: called once.
  absl::Status Run();

  // Any thread. The first call drains, where the options say so; the second ends at once.
  void Stop();

  // Any thread. The process of a rank of this host; 0 when there is none now.
  pid_t WorkerPid(size_t rank);

  // Any thread. HOST:PORT once clients are served; when that never came, why Run ended.
  absl::StatusOr<std::string> WaitUntilServing();

  static constexpr int kMaxDeaths = 5;

 private:
  struct Process {
    std::string name;
    std::unique_ptr<Child> child;  // null: not running
    LineReader output;
    LineReader status;
    std::string last_error;  // line of this child
    bool was_ready = false;  // it, or one before it
  };

  absl::Status Start();
  absl::Status StartWorker(size_t rank);
  void SetPid(size_t rank, pid_t pid);
  absl::Status StartCoordinator();
  // Waits for news and acts on it.
  void Turn();
  void ReadSignals();
  void StopRequested();
  void ReadOutput(Process* process);
  void WorkerSays(Process* worker, absl::string_view report);
  void CoordinatorSays(absl::string_view report);
  void WorkerDied(size_t rank);
  void CoordinatorDied();
  // Reaps; "the worker was killed by signal 9 (Killed): its last error line".
  std::string Obituary(Process* process);
  void End(absl::Status result);
  void EndProcesses();
  std::string WorkerAddress(size_t rank) const;

  const Options options_;
  Fd stop_event_;  // eventfd: how often Stop was called

  // Run's thread.
  std::unique_ptr<PrivateDir> directory_;  // holds the workers' sockets
  Fd signals_;
  std::vector<Process> workers_;  // by rank
  Process coordinator_{.name = "coordinator"};
  int deaths_ = 0;  // of workers since the last completed step
  int stops_ = 0;   // how often it was told
  absl::Time last_signal_ = absl::InfinitePast();
  absl::Time give_up_ = absl::InfiniteFuture();  // on a drain
  bool over_ = false;
  absl::Status result_;

  Mutex mutex_;
  CondVar changed_;
  std::string address_ ABSL_GUARDED_BY(mutex_);      // empty: not serving yet
  std::vector<pid_t> pids_ ABSL_GUARDED_BY(mutex_);  // of workers_; 0: none
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status end_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace pagoda
