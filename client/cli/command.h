// The commands of `pagoda`, and what they have in common.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/flags.h"

namespace pagoda {

// Each takes the arguments after its name and answers the exit status: 0; 1 when it failed; 2 when
// it was called wrongly. stdout holds only what was asked for; a failure is a line or two on
// stderr.
int Serve(const std::vector<std::string>& args);
int Generate(const std::vector<std::string>& args);
int Doctor(const std::vector<std::string>& args);

inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;

// Says why a command fails, in one line whatever is in the message.
int Fail(absl::string_view command, const absl::Status& status, int exit_status = kFailed);

// Adds --help and parses. Answers an exit status when that is all there was to do.
std::optional<int> ParseCommand(absl::string_view command,
                                absl::string_view synopsis,
                                absl::string_view summary,
                                const std::vector<std::string>& args,
                                FlagSet* flags);

// The directory of this program, where the other two are.
std::string ProgramsDirectory();

// NOT_FOUND unless there is such a directory: said at once, and without a process that fails.
absl::Status CheckModelDirectory(const std::string& model);

}  // namespace pagoda
