#include "client/cli/command.h"

#include <cstdio>
#include <filesystem>
#include <optional>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/escape.h"

namespace pagoda {
namespace {

constexpr size_t kMaxMessage = 2000;  // bytes

std::string Name(absl::string_view command) {
  return command.empty() ? "pagoda" : absl::StrCat("pagoda ", command);
}

}  // namespace

int Fail(absl::string_view command, const absl::Status& status, int exit_status) {
  std::string line = EscapeLine(status.message().substr(0, kMaxMessage));
  if (exit_status == kUsage) absl::StrAppend(&line, "\nsee: ", Name(command), " --help");
  std::fprintf(stderr, "%s: %s\n", Name(command).c_str(), line.c_str());
  return exit_status;
}

std::optional<int> ParseCommand(absl::string_view command,
                                absl::string_view synopsis,
                                absl::string_view summary,
                                const std::vector<std::string>& args,
                                FlagSet* flags) {
  static bool help;  // outlives every table
  flags->Add({.name = "help", .group = "Operation", .target = &help, .help = "This text."});
  const absl::Status status = flags->Parse(args);
  if (flags->IsSet("help")) {
    const std::string text = absl::StrCat("Usage: ",
                                          Name(command),
                                          " ",
                                          synopsis,
                                          "\n\n",
                                          summary,
                                          "\n\n",
                                          flags->Help(),
                                          "\nEvery flag can also be given as PAGODA_<NAME> in the "
                                          "environment.\n");
    std::fputs(text.c_str(), stdout);
    return 0;
  }
  if (!status.ok()) return Fail(command, status, kUsage);
  return std::nullopt;
}

std::string ProgramsDirectory() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  CHECK(!error) << error.message();
  return self.parent_path().string();
}

absl::Status CheckModelDirectory(const std::string& model) {
  std::error_code error;
  if (std::filesystem::is_directory(model, error)) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("no model directory ", model));
}

}  // namespace pagoda
