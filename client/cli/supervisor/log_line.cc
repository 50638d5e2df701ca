#include "client/cli/supervisor/log_line.h"

#include "absl/strings/match.h"
#include "absl/strings/strip.h"

namespace pagoda {
namespace {

// "2026-01-31T12:00:00.123456Z I " before the process and the message.
constexpr absl::string_view kStamp = "0000-00-00T00:00:00.000000Z ";

constexpr absl::string_view kReason = " reason=";

bool HasStamp(absl::string_view line) {
  if (line.size() < kStamp.size() + 2 || line[kStamp.size() + 1] != ' ') return false;
  for (size_t i = 0; i < kStamp.size(); ++i) {
    const bool digit = line[i] >= '0' && line[i] <= '9';
    if (kStamp[i] == '0' ? !digit : line[i] != kStamp[i]) return false;
  }
  return true;
}

// The value of a field, which begins `text`.
std::string Unquoted(absl::string_view text) {
  if (!absl::ConsumePrefix(&text, "\"")) return std::string(text.substr(0, text.find(' ')));
  std::string value;
  for (size_t i = 0; i < text.size() && text[i] != '"'; ++i) {
    const bool escaped =
        text[i] == '\\' && i + 1 < text.size() && (text[i + 1] == '"' || text[i + 1] == '\\');
    if (escaped) ++i;
    value += text[i];
  }
  return value;
}

}  // namespace

bool IsErrorLine(absl::string_view line) {
  if (HasStamp(line)) return line[kStamp.size()] == 'E';
  if (absl::StartsWith(line, "{\"time\":")) {
    return absl::StrContains(line, "\"severity\":\"ERROR\"");
  }
  return line.find_first_not_of(" \t\r") != absl::string_view::npos;
}

std::string ErrorText(absl::string_view line) {
  if (!HasStamp(line)) return std::string(line);
  line.remove_prefix(kStamp.size() + 2);
  const size_t reason = line.find(kReason);
  if (reason != absl::string_view::npos) return Unquoted(line.substr(reason + kReason.size()));
  return std::string(line.substr(line.find(' ') + 1));  // without the name of the process
}

}  // namespace pagoda
