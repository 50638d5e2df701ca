// The programs under test as processes, and whether any of theirs is left.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace pagoda::e2e {

// The programs of this build.
std::string Program(absl::string_view name);

// Environment entry that a process passes on to all that it starts. Each value is used once.
std::string NewMark();

// Processes that have the mark and are not dead.
std::vector<pid_t> Marked(const std::string& mark);

// Waits for the end of a process that need not be a child; false when it is still there then.
inline constexpr absl::Duration kPatience = absl::Seconds(30);
bool WaitGone(pid_t pid, absl::Duration patience = kPatience);

// Waits until no process has the mark, likewise.
bool WaitNoneMarked(const std::string& mark);

struct Outcome {
  std::string end;  // "ended with status 0"
  std::string out;
  std::string err;
  bool left_processes = false;

  // Lines of `err`.
  size_t err_lines() const;
};

// Runs a program to its end, with `input` on stdin.
Outcome RunProgram(const std::vector<std::string>& argv, const std::string& input = "");

// `pagoda` with these arguments.
Outcome RunPagoda(std::vector<std::string> args, const std::string& input = "");

std::string ReadFile(const std::string& path);

}  // namespace pagoda::e2e
