// Finds stop strings in text that arrives in pieces.
//
// Text before the match comes out, the stop string does not. Only what may be the start of a stop
// string waits. The match that ends first wins; of those that end at the same byte the longest, so
// that nothing of any stop string comes out. This depends on the text alone, not on its pieces.
// One thread at a time.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace pagoda {

inline constexpr size_t kMaxStopStrings = 16;
inline constexpr size_t kMaxStopStringBytes = 1024;

// InvalidArgument unless there are at most kMaxStopStrings, each UTF-8 of 1 to kMaxStopStringBytes.
absl::Status ValidateStopStrings(std::span<const std::string> stops);

class StopMatcher {
 public:
  // REQUIRES: ValidateStopStrings(stops) is OK.
  explicit StopMatcher(std::vector<std::string> stops);

  // Adds to *out what can be shown now. True when the piece completed a stop string; nothing more
  // comes out after that. When pieces end with whole characters, so does what comes out.
  bool Append(std::string_view piece, std::string* out);

  // No piece follows: adds what waited.
  void Flush(std::string* out);

  bool matched() const { return matched_; }

 private:
  // Knuth, Morris and Pratt's automaton for one stop string.
  struct Pattern {
    std::string stop;
    std::vector<uint16_t> border;  // [i]: the longest proper border of stop[0, i]
    uint16_t state = 0;            // bytes of `stop` that the text so far ends with, < stop.size()
  };

  // Takes one byte; the length of the longest stop string that ends with it, or 0.
  size_t Step(char c);

  std::vector<Pattern> patterns_;
  std::string held_;  // the text's end that waits; as long as the largest state
  bool matched_ = false;
};

}  // namespace pagoda
