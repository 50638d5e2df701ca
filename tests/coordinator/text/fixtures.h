// Tokenizers small enough to read, one per way of decoding, and the bundled model's.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/text/tokenizer.h"

namespace pagoda::testing {

// Ids that the hand-made files share.
inline constexpr int32_t kUnknown = 0;
inline constexpr int32_t kBegin = 1;  // "<s>", special; Encode adds it with SentencePieceJson
inline constexpr int32_t kEnd = 2;    // "</s>", special
inline constexpr int32_t kTool = 3;   // "<tool x>", added, not special

// GPT-2's kind: every byte, a few merges (one is two thirds of "你"), a hole in the ids.
std::string ByteLevelJson();

// Llama 2's kind: a leading space comes and goes, unknown characters fall back to byte tokens. The
// decoder drops up to `leading_spaces`; Llama's 1.
std::string SentencePieceJson(int leading_spaces = 1);

// T5's kind: "▁" is a space, dropped in the first token.
std::string MetaspaceJson();

// BERT's kind: "##" continues a word, and punctuation is pulled together.
std::string WordPieceJson();

// No decoder: tokens joined by spaces.
std::string NoDecoderJson();

// Byte-level, then a space stripped from the front.
std::string MixedJson();

// Each token loses a leading "a": some stand for nothing wherever they are.
std::string StripEachJson();

// A decoder that panics on tokens of one character.
std::string PanickingJson();

// Writes `contents` to a file of its own in the test's folder.
std::string WriteFile(std::string_view name, std::string_view contents);

// Loads a tokenizer.json given as text.
std::unique_ptr<Tokenizer> MakeTokenizer(const std::string& json);

// The bundled model's tokenizer.
std::unique_ptr<Tokenizer> DemoTokenizer();

struct NamedTokenizer {
  std::string name;
  std::unique_ptr<Tokenizer> tokenizer;
};

// All of the above that can decode every id.
std::vector<NamedTokenizer> AllTokenizers();

}  // namespace pagoda::testing
