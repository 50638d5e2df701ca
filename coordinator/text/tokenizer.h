// A model's tokenizer.json, as Hugging Face's tokenizers library reads it (through rust/).
//
// Immutable once loaded: every method may be called from any number of threads at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

struct pagoda_text_tokenizer;  // rust/pagoda_text.h

namespace pagoda {

// What one id stands for. The views live as long as the tokenizer.
struct TokenInfo {
  std::string_view text;   // as the vocabulary spells it
  std::string_view bytes;  // what it adds to the output; DecoderKind::kByteLevel only
  bool known = false;      // false: the id is outside the vocabulary, and all else is empty
  bool special = false;    // skip_special_tokens drops it
  bool byte = false;       // a SentencePiece byte token: characters come from runs of them
};

// How ids become text; the values are those of rust/pagoda_text.h.
enum class DecoderKind {
  kByteLevel = 0,  // the tokens' bytes end to end, ill-formed UTF-8 replaced
  kAppending = 1,  // each token appends whole characters, but for runs of byte tokens
  kMixed = 2,      // a byte-level step among others: may end in half a character, shown as U+FFFD
};

class Tokenizer {
 public:
  // The largest tokenizer.json that is read; the largest in use have 35 MB.
  static constexpr int64_t kMaxFileBytes = int64_t{256} << 20;

  // NotFound when there is no such file; InvalidArgument, naming the file, when it is no tokenizer.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const std::string& path);

  struct Free {
    void operator()(pagoda_text_tokenizer* tokenizer) const;
  };
  using Handle = std::unique_ptr<pagoda_text_tokenizer, Free>;

  // For Load. REQUIRES: `rust` is not null.
  explicit Tokenizer(Handle rust);
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;
  ~Tokenizer();

  // As Hugging Face does: special tokens written in the text count as such, and
  // `add_special_tokens` adds what the file's post-processor adds (a BOS, often nothing).
  // Truncation and padding that the file may ask for never happen. InvalidArgument when `text` is
  // not UTF-8.
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                              bool add_special_tokens = true) const;

  // All of the text at once; ids outside the vocabulary stand for nothing.
  absl::StatusOr<std::string> Decode(std::span<const int32_t> ids, bool skip_special_tokens) const;

  // Any id; the one of the last embedding row may well be outside the vocabulary.
  TokenInfo token(int32_t id) const;

  // Entries, added tokens included. The model may have more rows (padding), the ids may have holes.
  int64_t vocab_size() const;
  DecoderKind decoder_kind() const;

 private:
  Handle rust_;  // never null
};

}  // namespace pagoda
