#include "tests/e2e/logged_process.h"

#include <poll.h>
#include <signal.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/supervisor/line_reader.h"
#include "common/check.h"
#include "common/clock.h"
#include "tests/e2e/processes.h"

namespace pagoda::e2e {
namespace {

std::unique_ptr<Child> Start(const std::string& mark, std::vector<std::string> argv) {
  argv.insert(argv.begin(), {"/usr/bin/env", mark});
  auto child = Child::Start(argv);
  CHECK_OK(child);
  return *std::move(child);
}

}  // namespace

LoggedProcess::LoggedProcess(std::vector<std::string> argv)
    : mark_(NewMark()), child_(Start(mark_, std::move(argv))), reader_([this] { Read(); }) {}

LoggedProcess::~LoggedProcess() {
  child_->Signal(SIGKILL);
  reader_.join();
  child_.reset();
  CHECK(WaitNoneMarked(mark_));
}

void LoggedProcess::Read() {
  LineReader reader;
  while (!reader.at_end()) {
    pollfd readable{.fd = child_->output(), .events = POLLIN};
    CHECK_EQ(poll(&readable, 1, -1), 1);
    const std::vector<std::string> lines = reader.Read(child_->output());
    MutexLock lock(&mutex_);
    lines_.insert(lines_.end(), lines.begin(), lines.end());
    changed_.SignalAll();
  }
  MutexLock lock(&mutex_);
  ended_ = true;
  changed_.SignalAll();
}

std::string LoggedProcess::WaitForLine(absl::string_view text, int count) {
  const absl::Time deadline = RealClock()->Now() + kPatience;
  MutexLock lock(&mutex_);
  while (true) {
    int seen = 0;
    for (const std::string& line : lines_) {
      if (absl::StrContains(line, text) && ++seen == count) return line;
    }
    if (ended_) return "";
    CHECK(changed_.WaitUntil(&mutex_, deadline)) << "no \"" << std::string(text) << "\" in\n"
                                                 << absl::StrJoin(lines_, "\n");
  }
}

std::string LoggedProcess::WaitForRest(absl::string_view text, int count) {
  const std::string line = WaitForLine(text, count);
  CHECK(!line.empty()) << " ended without \"" << std::string(text) << "\"\n" << log();
  return line.substr(line.find(std::string(text)) + text.size());
}

std::vector<std::string> LoggedProcess::lines() {
  MutexLock lock(&mutex_);
  return lines_;
}

std::string LoggedProcess::log() { return absl::StrJoin(lines(), "\n"); }

std::string LoggedProcess::Wait() {
  CHECK(WaitGone(child_->pid())) << log();
  std::string end = child_->Wait();
  {
    // What it wrote last may still be in the pipe; a process that it left holds the pipe open.
    const absl::Time deadline = RealClock()->Now() + absl::Seconds(5);
    MutexLock lock(&mutex_);
    while (!ended_ && changed_.WaitUntil(&mutex_, deadline)) {
    }
  }
  if (!Marked(mark_).empty()) absl::StrAppend(&end, ", leaving processes");
  return end;
}

}  // namespace pagoda::e2e
