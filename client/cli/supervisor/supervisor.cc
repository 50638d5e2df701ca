#include "client/cli/supervisor/supervisor.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/cli/supervisor/log_line.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/status.h"

namespace pagoda {
namespace {

// For a coordinator that does not keep its own --drain-timeout.
constexpr absl::Duration kDrainSlack = absl::Seconds(10);
constexpr int kWorkerEndMs = 5000;
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

bool IsDead(const Child& child, int timeout_ms) {
  pollfd dead{.fd = child.pidfd(), .events = POLLIN};
  return poll(&dead, 1, timeout_ms) == 1;
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
  RETURN_IF_ERROR(StartWorker());
  return StartCoordinator();
}

std::string Supervisor::WorkerAddress() const {
  return absl::StrCat("unix:", directory_->path(), "/worker.sock");
}

absl::Status Supervisor::StartWorker() {
  std::vector<std::string> argv = {absl::StrCat(options_.programs, "/pagoda-worker"),
                                   absl::StrCat("--listen=", WorkerAddress()),
                                   absl::StrCat("--status-fd=", Child::kStatusFd)};
  for (std::string& argument : WorkerArguments(options_.flags)) {
    argv.push_back(std::move(argument));
  }
  worker_ = {.name = "worker"};
  ASSIGN_OR_RETURN(worker_.child, Child::Start(argv));
  log::Info("worker started", {{"pid", worker_.child->pid()}});
  return absl::OkStatus();
}

absl::Status Supervisor::StartCoordinator() {
  std::vector<std::string> argv = {absl::StrCat(options_.programs, "/pagoda-coordinator"),
                                   absl::StrCat("--worker=", WorkerAddress()),
                                   absl::StrCat("--status-fd=", Child::kStatusFd)};
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
  std::array<pollfd, 8> watched;
  size_t n = 0;
  watched[n++] = Watch(worker_.child->pidfd());
  watched[n++] = Watch(coordinator_.child->pidfd());
  watched[n++] = Watch(signals_.get());
  watched[n++] = Watch(stop_event_.get());
  for (const Process* process : {&worker_, &coordinator_}) {
    watched[n++] = Watch(process->output.at_end() ? -1 : process->child->output());
    watched[n++] = Watch(process->status.at_end() ? -1 : process->child->status());
  }
  if (poll(watched.data(), n, MillisecondsUntil(give_up_)) < 0) {
    CHECK_EQ(errno, EINTR);
    return;
  }
  ReadSignals();
  // What a dead process had said comes before its death.
  ReadOutput(&worker_);
  ReadOutput(&coordinator_);
  if (!over_ && watched[1].revents != 0) CoordinatorDied();
  if (!over_ && watched[0].revents != 0) WorkerDied();
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
    if (process == &worker_) {
      WorkerSays(report);
    } else {
      CoordinatorSays(report);
    }
  }
}

void Supervisor::WorkerSays(absl::string_view report) {
  if (report == "ready") worker_was_ready_ = true;
  if (report == "step") deaths_ = 0;
}

void Supervisor::CoordinatorSays(absl::string_view report) {
  if (absl::ConsumePrefix(&report, "ready ")) {
    const std::string address = absl::StrCat(options_.flags.host, ":", report);
    log::Info(absl::StrCat("serving on ", address));
    MutexLock lock(&mutex_);
    address_ = address;
    changed_.SignalAll();
  } else if (absl::ConsumePrefix(&report, "suspect ") && worker_.child != nullptr) {
    log::Warning("worker killed", {{"pid", worker_.child->pid()}, {"reason", report}});
    worker_.child->Signal(SIGKILL);  // its death is news of a later turn
  }
}

void Supervisor::WorkerDied() {
  const std::string obituary = Obituary(&worker_);
  if (!worker_was_ready_) {
    End(absl::UnavailableError(absl::StrCat(obituary, ", before it was ready")));
    return;
  }
  if (++deaths_ == kMaxDeaths) {
    End(absl::UnavailableError(
        absl::StrCat(kMaxDeaths, " workers in a row died before one step; ", obituary)));
    return;
  }
  log::Warning(absl::StrCat(obituary, "; starting another"), {{"deaths", deaths_}});
  if (absl::Status status = StartWorker(); !status.ok()) End(std::move(status));
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

// A clean end is only owed to a worker whose coordinator has ended well.
void Supervisor::EndProcesses() {
  if (result_.ok() && options_.drain && worker_.child != nullptr) {
    worker_.child->Signal(SIGTERM);
    IsDead(*worker_.child, kWorkerEndMs);
  }
  for (Process* process : {&coordinator_, &worker_}) {
    if (process->child == nullptr) continue;
    process->child->Signal(SIGKILL);
    process->child->Wait();
    ReadOutput(process);
    process->child.reset();
  }
}

}  // namespace pagoda
