// A program under test as a process, and what it logs.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/string_view.h"
#include "client/cli/supervisor/child.h"
#include "common/mutex.h"

namespace pagoda::e2e {

class LoggedProcess {
 public:
  explicit LoggedProcess(std::vector<std::string> argv);
  // Kills what is left; a test that has not ended it by itself does not care.
  ~LoggedProcess();

  // Waits for the `count`th log line that has `text` in it; the line, empty when the process ended
  // without it.
  std::string WaitForLine(absl::string_view text, int count = 1);
  // What follows `text` in that line. CHECK-fails when the process ended without it.
  std::string WaitForRest(absl::string_view text, int count = 1);

  pid_t pid() const { return child_->pid(); }
  void Signal(int signal) { child_->Signal(signal); }

  // Waits for the end and says how it came. Nothing of it is left then, or the text says so.
  std::string Wait();

  // All log lines so far.
  std::vector<std::string> lines();
  std::string log();

 private:
  void Read();

  const std::string mark_;
  std::unique_ptr<Child> child_;
  Mutex mutex_;
  CondVar changed_;
  std::vector<std::string> lines_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread reader_;
};

}  // namespace pagoda::e2e
