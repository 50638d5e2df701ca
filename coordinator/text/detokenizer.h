// Token ids in, text out, as the tokens arrive.
//
// The pieces of a sequence, end to end, are exactly what Tokenizer::Decode gives for all its ids;
// every call adds whole characters only. So text waits while a later token can still change it:
//   - byte-level tokenizers: the bytes of a character that is not complete (at most 3);
//   - SentencePiece byte tokens (<0xNN>): the whole run of them, because Hugging Face's decoder
//     replaces every byte of a run that turns out to be ill-formed, good ones too.
// The work per token does not depend on the length of the sequence. One thread at a time.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "coordinator/text/tokenizer.h"
#include "coordinator/text/utf8_lossy.h"

namespace pagoda {

// Text that one token brought. A character made by several tokens belongs to the last of them, but
// in a run of byte tokens each has its byte: there a single piece may be part of a character.
struct TextPiece {
  int64_t token;     // its index among the tokens appended so far
  std::string text;  // not empty
};

class IncrementalDecoder {
 public:
  // `tokenizer` outlives this. skip_special_tokens: they stand for nothing, as in Decode.
  IncrementalDecoder(const Tokenizer& tokenizer, bool skip_special_tokens);

  // Adds the pieces that became final, in order of their tokens. Fails only where
  // Tokenizer::Decode fails; the decoder is then of no more use.
  absl::Status Append(std::span<const int32_t> tokens, std::vector<TextPiece>* pieces);

  // No token follows: adds what waited; a character that never came to its end is U+FFFD.
  absl::Status Flush(std::vector<TextPiece>* pieces);

  // Tokens before those whose run waits; all that were appended when none waits.
  int64_t num_settled() const { return run_.empty() ? num_tokens_ : run_.front(); }

 private:
  void AppendBytes(const TokenInfo& info, std::vector<TextPiece>* pieces);
  absl::Status AppendToWindow(int32_t token, const TokenInfo& info, std::vector<TextPiece>* pieces);
  absl::Status EndRun(std::vector<TextPiece>* pieces);
  // Decodes the window and takes out the text that no piece has yet.
  absl::StatusOr<std::string> NewText();
  absl::Status Slide();

  const Tokenizer& tokenizer_;
  const DecoderKind kind_;
  const bool skip_special_tokens_;
  int64_t num_tokens_ = 0;  // appended so far

  // DecoderKind::kByteLevel uses only this.
  Utf8Lossy utf8_;

  // The other kinds decode a window of the last tokens. It begins with an anchor, tokens whose text
  // is out, because what a decoder does to a sequence's first token (no leading space) it must not
  // do to the next one. It never begins inside a run of byte tokens.
  std::vector<int32_t> window_;
  size_t anchor_ = 0;         // tokens at the window's front that are the anchor
  size_t decoded_ = 0;        // bytes of the window's text that are out
  std::vector<int64_t> run_;  // the byte tokens at the window's end, by index; their text waits
};

}  // namespace pagoda
