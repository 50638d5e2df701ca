#include "client/cli/supervisor/child.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/status.h"

namespace pagoda {
namespace {

absl::Status ErrnoStatus(absl::string_view what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", strerror(errno)));
}

struct Pipe {
  Fd read;
  Fd write;
};

absl::StatusOr<Pipe> MakePipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return ErrnoStatus("pipe");
  Pipe pipe{Fd(ends[0]), Fd(ends[1])};
  CHECK_EQ(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
  return pipe;
}

// Not through glibc 2.36, whose header declares it with C++ linkage.
Fd PidFd(pid_t pid) { return Fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))); }

// Between fork and exec only what is safe in a signal handler may run: other threads of the parent
// may have held any lock.
[[noreturn]] void Become(char* const* argv, pid_t parent, int null, int output, int status) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);  // it died before prctl
  setpgid(0, 0);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  // All four are above kStatusFd, so no dup2 overwrites another.
  dup2(null, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  dup2(status, Child::kStatusFd);
  close_range(Child::kStatusFd + 1, ~0U, 0);
  execv(argv[0], argv);
  static constexpr char kMessage[] = "cannot be run\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kMessage, sizeof(kMessage) - 1);
  _exit(127);
}

// A duplicate above the numbers that a child's own descriptors get.
absl::StatusOr<Fd> Above(int fd) {
  const int copy = fcntl(fd, F_DUPFD_CLOEXEC, Child::kStatusFd + 1);
  if (copy < 0) return ErrnoStatus("dup");
  return Fd(copy);
}

}  // namespace

Fd::~Fd() {
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<std::unique_ptr<Child>> Child::Start(const std::vector<std::string>& argv) {
  if (access(argv[0].c_str(), X_OK) != 0) return ErrnoStatus(absl::StrCat("cannot run ", argv[0]));
  ASSIGN_OR_RETURN(Pipe output, MakePipe());
  ASSIGN_OR_RETURN(Pipe status, MakePipe());
  const Fd null_device(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (null_device.get() < 0) return ErrnoStatus("/dev/null");
  ASSIGN_OR_RETURN(const Fd null, Above(null_device.get()));
  ASSIGN_OR_RETURN(const Fd child_output, Above(output.write.get()));
  ASSIGN_OR_RETURN(const Fd child_status, Above(status.write.get()));
  std::vector<char*> arguments;
  arguments.reserve(argv.size() + 1);
  for (const std::string& argument : argv) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);

  std::unique_ptr<Child> child(new Child);
  const pid_t parent = getpid();
  child->pid_ = fork();
  if (child->pid_ < 0) return ErrnoStatus("fork");
  if (child->pid_ == 0) {
    Become(arguments.data(), parent, null.get(), child_output.get(), child_status.get());
  }
  child->pidfd_ = PidFd(child->pid_);
  if (child->pidfd_.get() < 0) return ErrnoStatus("pidfd_open");  // ~Child ends it
  child->output_ = std::move(output.read);
  child->status_ = std::move(status.read);
  return child;
}

Child::~Child() {
  if (pid_ <= 0 || wait_status_.has_value()) return;
  kill(pid_, SIGKILL);
  Wait();
}

void Child::Signal(int signal) const {
  if (!wait_status_.has_value()) kill(pid_, signal);
}

std::string Child::Wait() {
  if (!wait_status_.has_value()) {
    int status = 0;
    pid_t reaped;
    do {
      reaped = waitpid(pid_, &status, 0);
    } while (reaped < 0 && errno == EINTR);
    CHECK_EQ(reaped, pid_);
    wait_status_ = status;
  }
  if (WIFEXITED(*wait_status_)) {
    return absl::StrCat("ended with status ", WEXITSTATUS(*wait_status_));
  }
  const int signal = WTERMSIG(*wait_status_);
  return absl::StrCat("was killed by signal ", signal, " (", strsignal(signal), ")");
}

bool Child::EndedWell(int signal) const {
  CHECK(wait_status_.has_value());
  return *wait_status_ == 0 || (WIFSIGNALED(*wait_status_) && WTERMSIG(*wait_status_) == signal);
}

}  // namespace pagoda
