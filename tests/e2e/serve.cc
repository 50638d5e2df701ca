#include "tests/e2e/serve.h"

#include <poll.h>
#include <signal.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/supervisor/line_reader.h"
#include "common/check.h"
#include "tests/e2e/processes.h"

namespace pagoda::e2e {
namespace {

std::unique_ptr<Child> Start(const std::vector<std::string>& argv) {
  auto child = Child::Start(argv);
  CHECK_OK(child);
  return *std::move(child);
}

std::vector<std::string> Command(const std::string& mark,
                                 const std::string& model,
                                 const std::vector<std::string>& flags) {
  std::vector<std::string> argv = {"/usr/bin/env",
                                   mark,
                                   Program("pagoda"),
                                   "serve",
                                   model,
                                   "--grpc-port=0",
                                   "--step-timeout=120s"};
  argv.insert(argv.end(), flags.begin(), flags.end());
  return argv;
}

std::string After(const std::string& line, absl::string_view text) {
  return line.substr(line.find(std::string(text)) + text.size());
}

}  // namespace

Serve::Serve(const std::vector<std::string>& flags, const std::string& model)
    : mark_(NewMark()), child_(Start(Command(mark_, model, flags))), reader_([this] { Read(); }) {}

Serve::~Serve() {
  child_->Signal(SIGKILL);
  reader_.join();
  child_.reset();
  CHECK(WaitNoneMarked(mark_));
}

void Serve::Read() {
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

std::string Serve::WaitForLine(absl::string_view text, int count) {
  const absl::Time deadline = absl::Now() + kPatience;
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

std::string Serve::log() {
  MutexLock lock(&mutex_);
  return absl::StrJoin(lines_, "\n");
}

std::string Serve::address() {
  const std::string line = WaitForLine("serving on ");
  CHECK(!line.empty()) << log();
  return After(line, "serving on ");
}

std::unique_ptr<Client> Serve::Connect() {
  auto client = Client::Connect(address(), kPatience);
  CHECK_OK(client);
  return *std::move(client);
}

pid_t Serve::PidIn(absl::string_view text, int count) {
  const std::string line = WaitForLine(text, count);
  pid_t pid = 0;
  CHECK(absl::SimpleAtoi(After(line, text), &pid)) << line << "\n" << log();
  return pid;
}

pid_t Serve::worker(int life, int rank) {
  return PidIn(absl::StrCat("worker started rank=", rank, " pid="), life);
}
pid_t Serve::coordinator() { return PidIn("coordinator started pid=", 1); }

int Serve::workers_started() {
  MutexLock lock(&mutex_);
  return static_cast<int>(std::count_if(lines_.begin(), lines_.end(), [](const std::string& line) {
    return absl::StrContains(line, "worker started rank=");
  }));
}

std::string Serve::Wait() {
  CHECK(WaitGone(child_->pid())) << log();
  std::string end = child_->Wait();
  {
    // What it wrote last may still be in the pipe; a process that it left holds the pipe open.
    const absl::Time deadline = absl::Now() + absl::Seconds(5);
    MutexLock lock(&mutex_);
    while (!ended_ && changed_.WaitUntil(&mutex_, deadline)) {
    }
  }
  if (!Marked(mark_).empty()) absl::StrAppend(&end, ", leaving processes");
  return end;
}

}  // namespace pagoda::e2e
