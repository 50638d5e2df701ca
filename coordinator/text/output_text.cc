#include "coordinator/text/output_text.h"

#include <utility>

#include "common/check.h"
#include "common/status.h"

namespace pagoda {

TextStream::TextStream(const Tokenizer& tokenizer,
                       bool skip_special_tokens,
                       std::vector<std::string> stops)
    : decoder_(tokenizer, skip_special_tokens), matcher_(std::move(stops)) {}

absl::StatusOr<TextDelta> TextStream::Append(int64_t first_token, std::span<const int32_t> tokens) {
  CHECK_EQ(first_token, next_token_);
  next_token_ += static_cast<int64_t>(tokens.size());
  std::vector<TextPiece> pieces;
  if (!stopped()) {
    RETURN_IF_ERROR(decoder_.Append(tokens, &pieces));
    num_tokens_ = decoder_.num_settled();
  }
  return Match(pieces);
}

absl::StatusOr<TextDelta> TextStream::Finish() {
  std::vector<TextPiece> pieces;
  if (!stopped()) {
    RETURN_IF_ERROR(decoder_.Flush(&pieces));
    num_tokens_ = next_token_;
  }
  TextDelta delta = Match(pieces);
  if (!stopped()) {
    const size_t before = delta.text.size();
    matcher_.Flush(&delta.text);
    text_bytes_ += static_cast<int64_t>(delta.text.size() - before);
  }
  return delta;
}

TextDelta TextStream::Match(const std::vector<TextPiece>& pieces) {
  TextDelta delta;
  for (const TextPiece& piece : pieces) {
    if (!matcher_.Append(piece.text, &delta.text)) continue;
    delta.stopped = true;
    num_tokens_ = piece.token + 1;
    break;
  }
  delta.num_tokens = num_tokens_;
  text_bytes_ += static_cast<int64_t>(delta.text.size());
  return delta;
}

}  // namespace pagoda
