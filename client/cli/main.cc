// The `pagoda` command.
#include <signal.h>

#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "client/cli/command.h"
#include "common/escape.h"
#include "common/version.h"

namespace pagoda {
namespace {

constexpr char kHelp[] =
    R"(Pagoda serves large language models.

Usage: pagoda COMMAND [flags]

  serve MODEL      serve a model on gRPC
  generate         continue a prompt, on a server or without one
  doctor [MODEL]   say what this machine offers and whether a model fits
  help [COMMAND]   this text, or a command's
  --version        the version

pagoda COMMAND --help lists a command's flags.
)";

struct Command {
  absl::string_view name;
  int (*run)(const std::vector<std::string>& args);
};

constexpr Command kCommands[] = {{"serve", Serve}, {"generate", Generate}, {"doctor", Doctor}};

int Help() {
  std::fputs(kHelp, stdout);
  return 0;
}

int Run(absl::string_view name, const std::vector<std::string>& args) {
  for (const Command& command : kCommands) {
    if (name == command.name) return command.run(args);
  }
  return Fail("",
              absl::InvalidArgumentError(absl::StrCat("no command '",
                                                      name.substr(0, 100),
                                                      "'; there are serve, generate, doctor")),
              kUsage);
}

int Main(std::vector<std::string> args) {
  signal(SIGPIPE, SIG_IGN);  // a write to who is gone fails, and is handled there
  if (args.empty()) {
    std::fputs(kHelp, stderr);
    return kUsage;
  }
  const std::string name = args[0];
  args.erase(args.begin());
  if (name == "--version") {
    std::printf("pagoda %s\n", kVersion);
    return 0;
  }
  if (name == "--help" || name == "-h") return Help();
  if (name != "help") return Run(name, args);
  return args.empty() ? Help() : Run(args[0], {"--help"});
}

}  // namespace
}  // namespace pagoda

int main(int argc, char** argv) { return pagoda::Main({argv + 1, argv + argc}); }
