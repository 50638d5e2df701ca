#include "coordinator/text/detokenizer.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "common/status.h"

namespace pagoda {
namespace {

// Tokens after the anchor with which the window slides even if they show no text of their own, and
// with which a mixed decoder's U+FFFD is taken for good.
constexpr size_t kMaxFresh = 32;

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

void AddPiece(int64_t token, std::string text, std::vector<TextPiece>* pieces) {
  if (!text.empty()) pieces->push_back({token, std::move(text)});
}

bool IsContinuation(char c) { return (static_cast<uint8_t>(c) & 0xC0) == 0x80; }

}  // namespace

IncrementalDecoder::IncrementalDecoder(const Tokenizer& tokenizer, bool skip_special_tokens)
    : tokenizer_(tokenizer),
      kind_(tokenizer.decoder_kind()),
      skip_special_tokens_(skip_special_tokens) {}

absl::Status IncrementalDecoder::Append(std::span<const int32_t> tokens,
                                        std::vector<TextPiece>* pieces) {
  for (const int32_t token : tokens) {
    const TokenInfo info = tokenizer_.token(token);
    if (info.known && !(info.special && skip_special_tokens_)) {
      if (kind_ == DecoderKind::kByteLevel) {
        AppendBytes(info, pieces);
      } else {
        RETURN_IF_ERROR(AppendToWindow(token, info, pieces));
      }
    }
    ++num_tokens_;
  }
  return absl::OkStatus();
}

absl::Status IncrementalDecoder::Flush(std::vector<TextPiece>* pieces) {
  if (num_tokens_ == 0) return absl::OkStatus();
  std::string text;
  utf8_.Flush(&text);
  RETURN_IF_ERROR(EndRun(pieces));
  if (kind_ == DecoderKind::kMixed) {
    ASSIGN_OR_RETURN(text, NewText());
  }
  AddPiece(num_tokens_ - 1, std::move(text), pieces);
  return absl::OkStatus();
}

void IncrementalDecoder::AppendBytes(const TokenInfo& info, std::vector<TextPiece>* pieces) {
  std::string text;
  utf8_.Append(info.bytes, &text);
  AddPiece(num_tokens_, std::move(text), pieces);
}

absl::Status IncrementalDecoder::AppendToWindow(int32_t token,
                                                const TokenInfo& info,
                                                std::vector<TextPiece>* pieces) {
  if (info.byte) {
    window_.push_back(token);
    run_.push_back(num_tokens_);
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(EndRun(pieces));
  window_.push_back(token);
  const size_t decoded = decoded_;
  ASSIGN_OR_RETURN(std::string text, NewText());
  if (kind_ == DecoderKind::kMixed && text.ends_with(kReplacement) &&
      window_.size() - anchor_ < kMaxFresh) {
    decoded_ = decoded;
    return absl::OkStatus();
  }
  AddPiece(num_tokens_, std::move(text), pieces);
  return Slide();
}

// A run became one byte of text per token or, ill-formed, one U+FFFD per token. The shares are
// counted from the end: a decoder may have stripped a leading space from the front.
absl::Status IncrementalDecoder::EndRun(std::vector<TextPiece>* pieces) {
  if (run_.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string text, NewText());
  const size_t share = text.size() > run_.size() ? kReplacement.size() : 1;
  size_t begin = 0;
  for (size_t i = 0; i < run_.size(); ++i) {
    const size_t after = std::min(text.size(), share * (run_.size() - 1 - i));
    const size_t end = text.size() - after;
    AddPiece(run_[i], text.substr(begin, end - begin), pieces);
    begin = end;
  }
  run_.clear();
  return absl::OkStatus();
}

absl::StatusOr<std::string> IncrementalDecoder::NewText() {
  ASSIGN_OR_RETURN(std::string text, tokenizer_.Decode(window_, /*skip_special_tokens=*/false));
  size_t begin = std::min(decoded_, text.size());
  while (begin < text.size() && IsContinuation(text[begin])) ++begin;
  decoded_ = text.size();
  return text.erase(0, begin);
}

absl::Status IncrementalDecoder::Slide() {
  const std::span<const int32_t> fresh(window_.begin() + anchor_, window_.end());
  ASSIGN_OR_RETURN(const std::string text, tokenizer_.Decode(fresh, false));
  if (text.empty() && fresh.size() < kMaxFresh) return absl::OkStatus();
  window_.erase(window_.begin(), window_.begin() + anchor_);
  anchor_ = window_.size();
  decoded_ = text.size();
  return absl::OkStatus();
}

}  // namespace pagoda
