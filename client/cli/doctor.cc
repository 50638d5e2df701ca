// pagoda doctor: what pagoda-worker reports of this machine and of a model on it.
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/command.h"
#include "common/server_flags.h"

namespace pagoda {

int Doctor(const std::vector<std::string>& args) {
  ServerFlags server;
  FlagSet flags;
  AddWorkerFlags(&server, &flags);
  const std::optional<int> done = ParseCommand(
      "doctor",
      "[MODEL] [flags]",
      "Says what this machine offers, its limits, and whether the model in a directory "
      "fits.\nExit status 0: it does.",
      args,
      &flags);
  if (done.has_value()) return *done;
  if (flags.positional().size() > 1) {
    return Fail("doctor", absl::InvalidArgumentError("takes at most one MODEL directory"), kUsage);
  }
  std::vector<std::string> argv = WorkerArguments(server);
  argv.insert(argv.begin(), absl::StrCat(ProgramsDirectory(), "/pagoda-worker"));
  argv.push_back(absl::StrCat("--probe=", absl::StrJoin(flags.positional(), "")));
  std::vector<char*> pointers;
  pointers.reserve(argv.size() + 1);
  for (std::string& argument : argv) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  execv(pointers[0], pointers.data());
  return Fail(
      "doctor",
      absl::UnavailableError(absl::StrCat("cannot run ", argv[0], ": ", std::strerror(errno))));
}

}  // namespace pagoda
