#include "coordinator/text/tokenizer.h"

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "common/utf8.h"
#include "coordinator/text/rust/pagoda_text.h"

namespace pagoda {
namespace {

// A buffer of the Rust library, freed with the scope.
class RustBytes {
 public:
  RustBytes() = default;
  RustBytes(const RustBytes&) = delete;
  RustBytes& operator=(const RustBytes&) = delete;
  ~RustBytes() { pagoda_text_bytes_free(bytes_); }

  pagoda_text_bytes* out() { return &bytes_; }
  std::string str() const {
    return std::string(reinterpret_cast<const char*>(bytes_.data), bytes_.size);
  }

 private:
  pagoda_text_bytes bytes_ = {};
};

const uint8_t* Data(std::string_view text) { return reinterpret_cast<const uint8_t*>(text.data()); }

std::string_view View(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) {
    return absl::NotFoundError(absl::StrCat(path, ": no such file"));
  }
  if (!std::filesystem::is_regular_file(status)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": not a regular file"));
  }
  const uintmax_t size = std::filesystem::file_size(path, error);
  if (error) return absl::InvalidArgumentError(absl::StrCat(path, ": ", error.message()));
  if (size > static_cast<uintmax_t>(Tokenizer::kMaxFileBytes)) {
    return absl::InvalidArgumentError(absl::StrCat(path,
                                                   ": has ",
                                                   size,
                                                   " bytes, a tokenizer.json at most ",
                                                   Tokenizer::kMaxFileBytes));
  }
  std::ifstream file(path, std::ios::binary);
  std::string contents(size, '\0');
  if (!file.read(contents.data(), static_cast<std::streamsize>(size))) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": cannot be read: ", std::generic_category().message(errno)));
  }
  return contents;
}

}  // namespace

void Tokenizer::Free::operator()(pagoda_text_tokenizer* tokenizer) const {
  pagoda_text_free(tokenizer);
}

Tokenizer::Tokenizer(Handle rust) : rust_(std::move(rust)) {}
Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string json, ReadFile(path));
  RustBytes error;
  Handle rust(pagoda_text_load(Data(json), json.size(), error.out()));
  if (rust == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": not a tokenizer.json that can be used: ", error.str()));
  }
  return std::make_unique<Tokenizer>(std::move(rust));
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(std::string_view text,
                                                       bool add_special_tokens) const {
  const size_t valid = Utf8ValidPrefix({text.data(), text.size()});
  if (valid != text.size()) {
    return absl::InvalidArgumentError(absl::StrCat("text is not UTF-8: byte ",
                                                   valid,
                                                   " of ",
                                                   text.size(),
                                                   " starts no character"));
  }
  pagoda_text_ids ids = {};
  RustBytes error;
  if (pagoda_text_encode(rust_.get(),
                         Data(text),
                         text.size(),
                         add_special_tokens,
                         &ids,
                         error.out()) != 0) {
    return absl::InternalError(absl::StrCat("tokenizer cannot encode: ", error.str()));
  }
  std::vector<int32_t> result(ids.data, ids.data + ids.size);
  pagoda_text_ids_free(ids);
  return result;
}

absl::StatusOr<std::string> Tokenizer::Decode(std::span<const int32_t> ids,
                                              bool skip_special_tokens) const {
  RustBytes text;
  RustBytes error;
  if (pagoda_text_decode(rust_.get(),
                         ids.data(),
                         ids.size(),
                         skip_special_tokens,
                         text.out(),
                         error.out()) != 0) {
    return absl::InternalError(absl::StrCat("tokenizer cannot decode: ", error.str()));
  }
  return text.str();
}

TokenInfo Tokenizer::token(int32_t id) const {
  const pagoda_text_token token = pagoda_text_token_at(rust_.get(), id);
  return {.text = View(token.text, token.text_size),
          .bytes = View(token.bytes, token.bytes_size),
          .known = (token.flags & PAGODA_TEXT_TOKEN_KNOWN) != 0,
          .special = (token.flags & PAGODA_TEXT_TOKEN_SPECIAL) != 0,
          .byte = (token.flags & PAGODA_TEXT_TOKEN_BYTE) != 0};
}

int64_t Tokenizer::vocab_size() const {
  return static_cast<int64_t>(pagoda_text_vocab_size(rust_.get()));
}

DecoderKind Tokenizer::decoder_kind() const {
  return static_cast<DecoderKind>(pagoda_text_decoder(rust_.get()));
}

static_assert(static_cast<int>(DecoderKind::kByteLevel) == PAGODA_TEXT_BYTE_LEVEL);
static_assert(static_cast<int>(DecoderKind::kAppending) == PAGODA_TEXT_APPENDING);
static_assert(static_cast<int>(DecoderKind::kMixed) == PAGODA_TEXT_MIXED);

}  // namespace pagoda
