// A child process: its output and its reports as pipes, its end as a file descriptor one can poll.
// It dies with the thread that started it, and its destructor kills and reaps it. One thread.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace pagoda {

// Owns a file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd();
  int get() const { return fd_; }

 private:
  int fd_ = -1;  // -1: none
};

class Child {
 public:
  // What a child finds its status pipe at; it is told with --status-fd.
  static constexpr int kStatusFd = 3;

  // Starts argv[0], a path, in a process group of its own (a Ctrl-C at the terminal is the parent's
  // to pass on), with nothing open but /dev/null as input, `output` as stdout and stderr, and
  // kStatusFd. UNAVAILABLE when there is no such program or no process to be had.
  static absl::StatusOr<std::unique_ptr<Child>> Start(const std::vector<std::string>& argv);

  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();

  pid_t pid() const { return pid_; }
  int pidfd() const { return pidfd_.get(); }    // readable once the process is dead
  int output() const { return output_.get(); }  // non-blocking, as is `status`
  int status() const { return status_.get(); }

  void Signal(int signal) const;
  // Waits for the end, and says how it came: "ended with status 1", "was killed by signal 9
  // (Killed)".
  std::string Wait();
  // After Wait: status 0, or ended by `signal`.
  bool EndedWell(int signal) const;

 private:
  Child() = default;

  pid_t pid_ = -1;
  Fd pidfd_;
  Fd output_;
  Fd status_;
  std::optional<int> wait_status_;  // once reaped
};

}  // namespace pagoda
