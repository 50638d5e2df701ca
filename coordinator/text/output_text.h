// The text of one choice: incremental decoding, then stop strings. A cursor on the choice's tokens
// in the token log: whoever reads the log feeds it, in order, at any pace.
//
// What it gives depends on the tokens alone, not on how they were cut into calls. One thread at a
// time.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/text/detokenizer.h"
#include "coordinator/text/stop_matcher.h"
#include "coordinator/text/tokenizer.h"

namespace pagoda {

struct TextDelta {
  std::string text;      // new text, whole characters; without stop string
  bool stopped = false;  // this call completed a stop string: the choice ends after `num_tokens`
  // Tokens of the choice that count for certain, from its first; never falls. When stopped, up to
  // and with the one that completed the stop string. While a run of byte tokens waits for its text,
  // only those before it: a stop string may end inside the run.
  int64_t num_tokens = 0;
};

class TextStream {
 public:
  // `tokenizer` outlives this. REQUIRES: ValidateStopStrings(stops) is OK.
  TextStream(const Tokenizer& tokenizer, bool skip_special_tokens, std::vector<std::string> stops);

  // The choice's tokens first_token, first_token + 1, ... A token that ended the choice as a stop
  // token is not text and is left out by the caller. After a stop, tokens are counted for
  // next_token() and otherwise ignored; what is given is empty. REQUIRES: first_token ==
  // next_token().
  absl::StatusOr<TextDelta> Append(int64_t first_token, std::span<const int32_t> tokens);

  // The choice has ended, and no token follows: gives what waited. It may complete a stop string.
  absl::StatusOr<TextDelta> Finish();

  int64_t next_token() const { return next_token_; }
  int64_t text_bytes() const { return text_bytes_; }  // given out so far
  bool stopped() const { return matcher_.matched(); }

 private:
  TextDelta Match(const std::vector<TextPiece>& pieces);

  IncrementalDecoder decoder_;
  StopMatcher matcher_;
  int64_t next_token_ = 0;
  int64_t num_tokens_ = 0;  // TextDelta::num_tokens
  int64_t text_bytes_ = 0;
};

}  // namespace pagoda
