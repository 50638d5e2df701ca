// A `pagoda serve` of the demo model as a process, its log, and its processes.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/string_view.h"
#include "client/cli/supervisor/child.h"
#include "client/cpp/client.h"
#include "common/mutex.h"

namespace pagoda::e2e {

inline constexpr char kModel[] = "models/demo";

class Serve {
 public:
  // On a free port. Steps may take as long as a sanitizer needs, unless the flags say otherwise.
  explicit Serve(const std::vector<std::string>& flags = {}, const std::string& model = kModel);
  // Kills what is left; a test that has not ended it by itself does not care.
  ~Serve();

  // Waits for the `count`th log line that has `text` in it; the line, empty when the process ended
  // without it.
  std::string WaitForLine(absl::string_view text, int count = 1);

  // Waits until it serves. HOST:PORT.
  std::string address();
  std::unique_ptr<Client> Connect();

  // The `life`th worker of a rank, and the coordinator; once it has started.
  pid_t worker(int life = 1, int rank = 0);
  pid_t coordinator();
  int workers_started();

  pid_t pid() const { return child_->pid(); }
  void Signal(int signal) { child_->Signal(signal); }

  // Waits for the end and says how it came. Nothing of it is left then, or the text says so.
  std::string Wait();

  // All log lines so far.
  std::string log();

 private:
  void Read();
  pid_t PidIn(absl::string_view text, int count);

  const std::string mark_;
  std::unique_ptr<Child> child_;
  Mutex mutex_;
  CondVar changed_;
  std::vector<std::string> lines_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread reader_;
};

}  // namespace pagoda::e2e
