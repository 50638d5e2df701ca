#include "tests/client/cli/supervisor/fake_programs.h"

#include <signal.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace pagoda {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(30);

Supervisor::Options Ranks(int64_t ranks, int64_t local) {
  Supervisor::Options options;
  options.flags.tensor_parallel_size = ranks;
  options.local_workers = local;
  return options;
}

Supervisor::Options Complete(Supervisor::Options options,
                             const FakePrograms& programs,
                             std::function<void(absl::string_view)> log) {
  options.programs = programs.path();
  options.model = "-a model";
  options.log = std::move(log);
  return options;
}

}  // namespace

FakePrograms::FakePrograms() {
  auto directory = PrivateDir::Make();
  CHECK_OK(directory);
  directory_ = *std::move(directory);
}

void FakePrograms::Write(absl::string_view name, absl::string_view body) {
  const std::string file = absl::StrCat(path(), "/", name);
  std::ofstream(file) << absl::StrCat("#!/bin/bash\ndir=", path(), "\n", body, "\n");
  CHECK_EQ(chmod(file.c_str(), 0700), 0);
}

std::string FakePrograms::Read(absl::string_view name) const {
  std::ostringstream text;
  text << std::ifstream(absl::StrCat(path(), "/", name)).rdbuf();
  return text.str();
}

RunningSupervisor::RunningSupervisor(const FakePrograms& programs, bool drain)
    : RunningSupervisor(programs, Supervisor::Options{.drain = drain}) {}

RunningSupervisor::RunningSupervisor(const FakePrograms& programs, int64_t ranks, int64_t local)
    : RunningSupervisor(programs, Ranks(ranks, local)) {}

RunningSupervisor::RunningSupervisor(const FakePrograms& programs, Supervisor::Options options)
    : supervisor_(
          Complete(std::move(options), programs, [this](absl::string_view line) { Log(line); })),
      thread_([this] { result_ = supervisor_.Run(); }) {}

RunningSupervisor::~RunningSupervisor() {
  if (!thread_.joinable()) return;
  supervisor_.Stop();
  supervisor_.Stop();
  thread_.join();
}

absl::Status RunningSupervisor::Join() {
  thread_.join();
  return result_;
}

void RunningSupervisor::Log(absl::string_view line) {
  MutexLock lock(&mutex_);
  lines_.emplace_back(line);
  changed_.SignalAll();
}

std::string RunningSupervisor::WaitForLine(absl::string_view prefix, int count) {
  const absl::Time deadline = absl::Now() + kPatience;
  MutexLock lock(&mutex_);
  while (true) {
    int seen = 0;
    for (const std::string& line : lines_) {
      if (absl::StartsWith(line, prefix) && ++seen == count) return line.substr(prefix.size());
    }
    CHECK(changed_.WaitUntil(&mutex_, deadline)) << "no line \"" << std::string(prefix) << "\"";
  }
}

bool ProcessExists(const std::string& pid) { return kill(std::atoi(pid.c_str()), 0) == 0; }

}  // namespace pagoda
