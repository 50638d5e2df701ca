#include "tests/e2e/processes.h"

#include <dirent.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/supervisor/child.h"
#include "client/cli/supervisor/private_dir.h"
#include "common/check.h"

namespace pagoda::e2e {
namespace {

bool IsZombie(absl::string_view pid) {
  // "12 (name) Z ...", where the name may hold anything.
  const std::string stat = ReadFile(absl::StrCat("/proc/", pid, "/stat"));
  const size_t name_end = stat.rfind(") ");
  return name_end == std::string::npos || stat[name_end + 2] == 'Z';
}

}  // namespace

std::string ReadFile(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

std::string Program(absl::string_view name) {
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe");
  return (self.parent_path().parent_path() / "bin" / std::string(name)).string();
}

std::string NewMark() {
  static std::atomic<int> count = 0;
  return absl::StrCat("E2E_MARK=", getpid(), "-", ++count);
}

std::vector<pid_t> Marked(const std::string& mark) {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    pid_t pid = 0;
    if (!absl::SimpleAtoi(name, &pid)) continue;
    const std::string environment = ReadFile(absl::StrCat("/proc/", name, "/environ"));
    const std::vector<absl::string_view> entries = absl::StrSplit(environment, '\0');
    const bool is_marked = std::find(entries.begin(), entries.end(), mark) != entries.end();
    if (is_marked && !IsZombie(name)) found.push_back(pid);
  }
  return found;
}

bool WaitGone(pid_t pid, absl::Duration patience) {
  const Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (pidfd.get() < 0) return true;
  pollfd dead{.fd = pidfd.get(), .events = POLLIN};
  return poll(&dead, 1, static_cast<int>(absl::ToInt64Milliseconds(patience))) == 1;
}

bool WaitNoneMarked(const std::string& mark) {
  const std::vector<pid_t> pids = Marked(mark);
  return std::all_of(pids.begin(), pids.end(), [](pid_t pid) { return WaitGone(pid); }) &&
         Marked(mark).empty();
}

size_t Outcome::err_lines() const { return std::count(err.begin(), err.end(), '\n'); }

Outcome RunProgram(const std::vector<std::string>& argv, const std::string& input) {
  auto directory = PrivateDir::Make();
  CHECK_OK(directory);
  const std::string& path = (*directory)->path();
  std::ofstream(path + "/in") << input;
  const std::string mark = NewMark();
  std::vector<std::string> command = {"/bin/bash",
                                      "-c",
                                      "d=$1; shift; exec \"$@\" <$d/in >$d/out 2>$d/err",
                                      "run",
                                      path,
                                      "/usr/bin/env",
                                      mark};
  command.insert(command.end(), argv.begin(), argv.end());
  auto child = Child::Start(command);
  CHECK_OK(child);
  Outcome outcome;
  outcome.end = (*child)->Wait();
  // At once: whoever is left now was left behind.
  outcome.left_processes = !Marked(mark).empty();
  outcome.out = ReadFile(path + "/out");
  outcome.err = ReadFile(path + "/err");
  return outcome;
}

Outcome RunPagoda(std::vector<std::string> args, const std::string& input) {
  args.insert(args.begin(), Program("pagoda"));
  return RunProgram(args, input);
}

}  // namespace pagoda::e2e
