#include "coordinator/text/stop_matcher.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/utf8.h"

namespace pagoda {
namespace {

std::vector<uint16_t> Borders(std::string_view stop) {
  std::vector<uint16_t> border(stop.size(), 0);
  for (size_t i = 1; i < stop.size(); ++i) {
    uint16_t length = border[i - 1];
    while (length > 0 && stop[i] != stop[length]) length = border[length - 1];
    border[i] = static_cast<uint16_t>(length + (stop[i] == stop[length]));
  }
  return border;
}

}  // namespace

absl::Status ValidateStopStrings(std::span<const std::string> stops) {
  if (stops.size() > kMaxStopStrings) {
    return absl::InvalidArgumentError(
        absl::StrCat("stop has ", stops.size(), " strings, at most ", kMaxStopStrings));
  }
  for (size_t i = 0; i < stops.size(); ++i) {
    const std::string& stop = stops[i];
    if (stop.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("stop[", i, "] is empty"));
    }
    if (stop.size() > kMaxStopStringBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("stop[", i, "] has ", stop.size(), " bytes, at most ", kMaxStopStringBytes));
    }
    if (Utf8ValidPrefix({stop.data(), stop.size()}) != stop.size()) {
      return absl::InvalidArgumentError(absl::StrCat("stop[", i, "] is not UTF-8"));
    }
  }
  return absl::OkStatus();
}

StopMatcher::StopMatcher(std::vector<std::string> stops) {
  CHECK_OK(ValidateStopStrings(stops));
  for (std::string& stop : stops) {
    std::vector<uint16_t> border = Borders(stop);
    patterns_.push_back({.stop = std::move(stop), .border = std::move(border)});
  }
}

bool StopMatcher::Append(std::string_view piece, std::string* out) {
  if (matched_) return false;
  for (size_t i = 0; i < piece.size(); ++i) {
    const size_t match = Step(piece[i]);
    if (match == 0) continue;
    held_.append(piece.substr(0, i + 1));
    out->append(held_, 0, held_.size() - match);
    held_.clear();
    matched_ = true;
    return true;
  }
  held_.append(piece);
  size_t hold = 0;
  for (const Pattern& pattern : patterns_) hold = std::max<size_t>(hold, pattern.state);
  out->append(held_, 0, held_.size() - hold);
  held_.erase(0, held_.size() - hold);
  return false;
}

void StopMatcher::Flush(std::string* out) {
  out->append(held_);
  held_.clear();
  for (Pattern& pattern : patterns_) pattern.state = 0;
}

size_t StopMatcher::Step(char c) {
  size_t match = 0;
  for (Pattern& pattern : patterns_) {
    uint16_t& state = pattern.state;
    while (state > 0 && pattern.stop[state] != c) state = pattern.border[state - 1];
    if (pattern.stop[state] == c) ++state;
    if (state == pattern.stop.size()) {
      match = std::max(match, pattern.stop.size());
      state = pattern.border[state - 1];
    }
  }
  return match;
}

}  // namespace pagoda
