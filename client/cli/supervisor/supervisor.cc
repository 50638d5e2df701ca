#include "client/cli/supervisor/supervisor.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/cli/supervisor/log_line.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/status.h"

namespace pagoda {
namespace {

// For a coordinator that does not keep its own --drain-timeout.
constexpr absl::Duration kDrainSlack = absl::Seconds(10);
constexpr absl::Duration kWorkerEnd = absl::Seconds(5);
// timeout(1) signals a process and then its group: that is one wish, not two.
constexpr absl::Duration kSameSignal = absl::Milliseconds(300);

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  return signals;
}

void AwaitDeath(const Child& child, int timeout_ms) {
  pollfd dead{.fd = child.pidfd(), .events = POLLIN};
  poll(&dead, 1, timeout_ms);
}

// For poll; -1 is passed over.
pollfd Watch(int fd) { return {.fd = fd, .events = POLLIN}; }

int MillisecondsUntil(absl::Time time) {
  if (time == absl::InfiniteFuture()) return -1;
  const int64_t left = absl::ToInt64Milliseconds(time - RealClock()->Now());
  return static_cast<int>(std::clamp<int64_t>(left, 0, 1 << 30));
}

}  // namespace

Supervisor::Supervisor(Options options)
    : options_(std::move(options)), stop_event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  CHECK_GE(stop_event_.get(), 0);
}

void Supervisor::BlockSignals() {
  const sigset_t signals = StopSignals();
  CHECK_EQ(pthread_sigmask(SIG_BLOCK, &signals, nullptr), 0);
}

void Supervisor::Stop() {
  const uint64_t once = 1;
  CHECK_EQ(write(stop_event_.get(), &once, sizeof(once)), static_cast<ssize_t>(sizeof(once)));
}

absl::StatusOr<std::string> Supervisor::WaitUntilServing() {
  MutexLock lock(&mutex_);
  while (address_.empty() && !ended_) changed_.Wait(&mutex_);
  if (!address_.empty()) return address_;
  return end_.ok() ? absl::CancelledError("stopped before it served") : end_;
}

pid_t Supervisor::WorkerPid(size_t rank) {
  MutexLock lock(&mutex_);
  return rank < pids_.size() ? pids_[rank] : 0;
}

void Supervisor::SetPid(size_t rank, pid_t pid) {
  MutexLock lock(&mutex_);
  pids_.resize(workers_.size());
  pids_[rank] = pid;
}

absl::Status Supervisor::Run() {
  if (absl::Status status = Start(); !status.ok()) End(std::move(status));
  while (!over_) Turn();
  EndProcesses();
  directory_.reset();
  MutexLock lock(&mutex_);
  ended_ = true;
  end_ = result_;
  changed_.SignalAll();
  return result_;
}

absl::Status Supervisor::Start() {
  const sigset_t signals = StopSignals();
  signals_ = Fd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  CHECK_GE(signals_.get(), 0);
  ASSIGN_OR_RETURN(directory_, PrivateDir::Make());
  const int64_t ranks = options_.flags.tensor_parallel_size;
  const int64_t local = options_.local_workers == 0 ? ranks : options_.local_workers;
  for (int64_t rank = 0; rank < local; ++rank) {
    workers_.push_back({.name = ranks == 1 ? "worker" : absl::StrCat("worker of rank ", rank)});
  }
  for (size_t rank = 0; rank < workers_.size(); ++rank) RETURN_IF_ERROR(StartWorker(rank));
  return StartCoordinator();
}

std::string Supervisor::WorkerAddress(size_t rank) const {
  return absl::StrCat("unix:", directory_->path(), "/worker-", rank, ".sock");
}

absl::Status Supervisor::StartWorker(size_t rank) {
  std::vector<std::string> argv = {absl::StrCat(options_.programs, "/pagoda-worker"),
                                   absl::StrCat("--listen=", WorkerAddress(rank)),
                                   absl::StrCat("--status-fd=", Child::kStatusFd)};
  ServerFlags flags = options_.flags;
  const int workers = static_cast<int>(workers_.size());
  if (flags.threads == 0 && workers > 1) flags.threads = std::max(1, CpuLimit() / workers);
  for (std::string& argument : WorkerArguments(flags)) argv.push_back(std::move(argument));
  Process& worker = workers_[rank];
  worker = {.name = worker.name, .was_ready = worker.was_ready};
  ASSIGN_OR_RETURN(worker.child, Child::Start(argv));
  log::Info("worker started", {{"rank", rank}, {"pid", worker.child->pid()}});
  SetPid(rank, worker.child->pid());
  return absl::OkStatus();
}

absl::Status Supervisor::StartCoordinator() {
  std::vector<std::string> argv = {absl::StrCat(options_.programs, "/pagoda-coordinator"),
                                   absl::StrCat("--status-fd=", Child::kStatusFd)};
  for (size_t rank = 0; rank < workers_.size(); ++rank) {
    argv.push_back(absl::StrCat("--worker=", WorkerAddress(rank)));
  }
  for (std::string& argument : CoordinatorArguments(options_.flags)) {
    argv.push_back(std::move(argument));
  }
  argv.push_back("--");
  argv.push_back(options_.model);
  ASSIGN_OR_RETURN(coordinator_.child, Child::Start(argv));
  log::Info("coordinator started", {{"pid", coordinator_.child->pid()}});
  return absl::OkStatus();
}

void Supervisor::Turn() {
  std::vector<pollfd> watched = {Watch(signals_.get()), Watch(stop_event_.get())};
  const auto watch = [&watched](const Process& process) {
    watched.push_back(Watch(process.child->pidfd()));
    watched.push_back(Watch(process.output.at_end() ? -1 : process.child->output()));
    watched.push_back(Watch(process.status.at_end() ? -1 : process.child->status()));
  };
  watch(coordinator_);
  for (const Process& worker : workers_) watch(worker);
  if (poll(watched.data(), watched.size(), MillisecondsUntil(give_up_)) < 0) {
    CHECK_EQ(errno, EINTR);
    return;
  }
  ReadSignals();
  // What a dead process had said comes before its death.
  ReadOutput(&coordinator_);
  for (Process& worker : workers_) ReadOutput(&worker);
  const auto died = [&watched](size_t process) { return watched[2 + 3 * process].revents != 0; };
  if (!over_ && died(0)) CoordinatorDied();
  for (size_t rank = 0; rank < workers_.size(); ++rank) {
    if (!over_ && died(1 + rank)) WorkerDied(rank);
  }
  if (!over_ && RealClock()->Now() >= give_up_) {
    End(absl::DeadlineExceededError("the coordinator did not end in time"));
  }
}

void Supervisor::ReadSignals() {
  signalfd_siginfo info;
  while (read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
    const absl::Time now = RealClock()->Now();
    if (now - std::exchange(last_signal_, now) >= kSameSignal) StopRequested();
  }
  uint64_t calls = 0;
  if (read(stop_event_.get(), &calls, sizeof(calls)) != sizeof(calls)) return;
  for (; calls > 0; --calls) StopRequested();
}

void Supervisor::StopRequested() {
  ++stops_;
  if (stops_ == 1 && options_.drain) {
    coordinator_.child->Signal(SIGTERM);
    give_up_ = RealClock()->Now() + options_.flags.drain_timeout + kDrainSlack;
  } else {
    End(stops_ > 1 ? absl::CancelledError("stopped again before requests were finished")
                   : absl::OkStatus());
  }
}

void Supervisor::ReadOutput(Process* process) {
  for (const std::string& line : process->output.Read(process->child->output())) {
    if (IsErrorLine(line)) process->last_error = line;
    if (options_.log != nullptr) options_.log(line);
  }
  for (const std::string& report : process->status.Read(process->child->status())) {
    if (process == &coordinator_) {
      CoordinatorSays(report);
    } else {
      WorkerSays(process, report);
    }
  }
}

void Supervisor::WorkerSays(Process* worker, absl::string_view report) {
  if (report == "ready") worker->was_ready = true;
  if (report == "step") deaths_ = 0;
}

void Supervisor::CoordinatorSays(absl::string_view report) {
  if (absl::ConsumePrefix(&report, "ready ")) {
    const std::string address = absl::StrCat(options_.flags.host, ":", report);
    log::Info(absl::StrCat("serving on ", address));
    MutexLock lock(&mutex_);
    address_ = address;
    changed_.SignalAll();
  } else if (absl::ConsumePrefix(&report, "suspect ")) {
    const std::pair<std::string, std::string> words =
        absl::StrSplit(report, absl::MaxSplits(' ', 1));
    size_t rank = 0;
    // A rank of another host is fenced by its epoch alone.
    if (!absl::SimpleAtoi(words.first, &rank) || rank >= workers_.size()) return;
    const Child& child = *workers_[rank].child;
    log::Warning("worker killed", {{"rank", rank}, {"pid", child.pid()}, {"reason", words.second}});
    child.Signal(SIGKILL);  // its death is news of a later turn
  }
}

void Supervisor::WorkerDied(size_t rank) {
  SetPid(rank, 0);
  const std::string obituary = Obituary(&workers_[rank]);
  if (!workers_[rank].was_ready) {
    End(absl::UnavailableError(absl::StrCat(obituary, ", before it was ready")));
    return;
  }
  if (++deaths_ == kMaxDeaths) {
    End(absl::UnavailableError(
        absl::StrCat(kMaxDeaths, " workers in a row died before one step; ", obituary)));
    return;
  }
  log::Warning(absl::StrCat(obituary, "; starting another"), {{"deaths", deaths_}});
  if (absl::Status status = StartWorker(rank); !status.ok()) End(std::move(status));
}

void Supervisor::CoordinatorDied() {
  const std::string obituary = Obituary(&coordinator_);
  const bool well = stops_ > 0 && coordinator_.child->EndedWell(SIGTERM);
  End(well ? absl::OkStatus() : absl::UnavailableError(obituary));
}

std::string Supervisor::Obituary(Process* process) {
  std::string how = process->child->Wait();
  ReadOutput(process);
  const std::string said = ErrorText(process->last_error);
  return absl::StrCat("the ", process->name, " ", how, said.empty() ? "" : ": ", said);
}

void Supervisor::End(absl::Status result) {
  if (over_) return;
  over_ = true;
  result_ = std::move(result);
}

// A clean end is only owed to workers whose coordinator has ended well.
void Supervisor::EndProcesses() {
  if (result_.ok() && options_.drain) {
    const absl::Time until = RealClock()->Now() + kWorkerEnd;
    for (const Process& worker : workers_) {
      if (worker.child != nullptr) worker.child->Signal(SIGTERM);
    }
    for (const Process& worker : workers_) {
      if (worker.child != nullptr) AwaitDeath(*worker.child, MillisecondsUntil(until));
    }
  }
  const auto end = [this](Process* process) {
    if (process->child == nullptr) return;
    process->child->Signal(SIGKILL);
    process->child->Wait();
    ReadOutput(process);
    process->child.reset();
  };
  end(&coordinator_);
  for (Process& worker : workers_) end(&worker);
}

}  // namespace pagoda
