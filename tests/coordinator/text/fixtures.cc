#include "tests/coordinator/text/fixtures.h"

#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/check.h"
#include "gtest/gtest.h"

namespace pagoda::testing {
namespace {

using nlohmann::json;

const std::vector<std::string> kAdded = {"<unk>", "<s>", "</s>", "<tool x>"};

json Replace(const std::string& from, const std::string& to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}

json Strip(const std::string& content, int start, int stop) {
  return {{"type", "Strip"}, {"content", content}, {"start", start}, {"stop", stop}};
}

json Sequence(std::vector<json> decoders) {
  return {{"type", "Sequence"}, {"decoders", std::move(decoders)}};
}

json ByteLevel() {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", false},
          {"use_regex", false}};
}

json Metaspace() {
  return {{"type", "Metaspace"},
          {"replacement", "▁"},
          {"prepend_scheme", "always"},
          {"split", false}};
}

// Ids 0 to 3, then the entries in order.
json Vocabulary(const std::vector<std::string>& entries) {
  json vocab;
  for (const std::string& entry : kAdded) vocab[entry] = vocab.size();
  for (const std::string& entry : entries) vocab[entry] = vocab.size();
  return vocab;
}

json File(json model, json decoder) {
  json added = json::array();
  for (size_t id = 0; id < kAdded.size(); ++id) {
    added.push_back({{"id", id},
                     {"content", kAdded[id]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", id != kTool}});
  }
  return {{"version", "1.0"},
          {"added_tokens", added},
          {"normalizer", nullptr},
          {"pre_tokenizer", nullptr},
          {"post_processor", nullptr},
          {"model", std::move(model)},
          {"decoder", std::move(decoder)}};
}

json Bpe(json vocab, const std::vector<std::string>& merges, bool byte_fallback) {
  return {{"type", "BPE"},
          {"unk_token", "<unk>"},
          {"byte_fallback", byte_fallback},
          {"vocab", std::move(vocab)},
          {"merges", merges}};
}

json WordLevel(const std::vector<std::string>& entries) {
  return {{"type", "WordLevel"}, {"unk_token", "<unk>"}, {"vocab", Vocabulary(entries)}};
}

// The character that stands for a byte in byte-level vocabularies, as UTF-8.
std::string StandIn(int byte) {
  const bool printable =
      (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte <= 0xFF && byte != 0xAD);
  int code = byte;
  if (!printable) {
    const int before = byte <= 0x20 ? byte : byte <= 0xA0 ? byte - 0x7F + 0x21 : 0x43;
    code = 0x100 + before;
  }
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3F))};
}

json ByteLevelBpe() {
  std::vector<std::string> entries;
  for (int byte = 0; byte < 256; ++byte) entries.push_back(StandIn(byte));
  const std::string two_thirds = StandIn(0xE4) + StandIn(0xBD);
  entries.insert(entries.end(), {"he", StandIn(' ') + "t", StandIn(' ') + "the", two_thirds});
  json vocab = Vocabulary(entries);
  vocab["lo"] = vocab.size() + 10;
  return Bpe(vocab,
             {"h e",
              StandIn(' ') + " t",
              StandIn(' ') + "t he",
              StandIn(0xE4) + " " + StandIn(0xBD),
              "l o"},
             false);
}

}  // namespace

std::string ByteLevelJson() {
  json file = File(ByteLevelBpe(), ByteLevel());
  file["pre_tokenizer"] = ByteLevel();
  return file.dump();
}

std::string SentencePieceJson(int leading_spaces) {
  std::vector<std::string> entries;
  for (int byte = 0; byte < 256; ++byte) {
    char text[8];
    std::snprintf(text, sizeof(text), "<0x%02X>", byte);
    entries.push_back(text);
  }
  entries.insert(entries.end(), {"▁", "a", "b", "c", "é", "▁a", "▁▁", "ab", "▁ab", "▁▁▁▁"});
  json file = File(Bpe(Vocabulary(entries), {"▁ a", "▁ ▁", "a b", "▁ ab", "▁▁ ▁▁"}, true),
                   Sequence({Replace("▁", " "),
                             {{"type", "ByteFallback"}},
                             {{"type", "Fuse"}},
                             Strip(" ", leading_spaces, 0)}));
  file["normalizer"] = {
      {"type", "Sequence"},
      {"normalizers", {{{"type", "Prepend"}, {"prepend", "▁"}}, Replace(" ", "▁")}}};
  const json begin = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}};
  const json first = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const json second = {{"Sequence", {{"id", "B"}, {"type_id", 1}}}};
  file["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single", {begin, first}},
      {"pair", {begin, first, second}},
      {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {kBegin}}, {"tokens", {"<s>"}}}}}}};
  return file.dump();
}

std::string MetaspaceJson() {
  json file = File(Bpe(Vocabulary({"▁", "a", "b", "▁a", "▁▁", "ab"}), {"▁ a", "▁ ▁", "a b"}, false),
                   Metaspace());
  file["pre_tokenizer"] = Metaspace();
  return file.dump();
}

std::string WordPieceJson() {
  json file =
      File({{"type", "WordPiece"},
            {"unk_token", "<unk>"},
            {"continuing_subword_prefix", "##"},
            {"max_input_chars_per_word", 100},
            {"vocab", Vocabulary({"play", "##ing", "##s", ".", ",", "do", "not", "n't", "é"})}},
           {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}});
  file["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  return file.dump();
}

std::string NoDecoderJson() { return File(WordLevel({"one", "two", "你", " "}), nullptr).dump(); }

std::string MixedJson() {
  json file = File(ByteLevelBpe(), Sequence({ByteLevel(), Strip(" ", 1, 0)}));
  file["pre_tokenizer"] = ByteLevel();
  return file.dump();
}

std::string StripEachJson() {
  return File(WordLevel({"a", "aa", "b", "ab"}), Sequence({Strip("a", 1, 0)})).dump();
}

std::string PanickingJson() {
  return File(WordLevel({"a", "aa"}), Sequence({Strip("a", 0, 2)})).dump();
}

std::string WriteFile(std::string_view name, std::string_view contents) {
  static int files = 0;
  std::string path = ::testing::TempDir() + "pagoda_text_" + std::to_string(::getpid()) + "_" +
                     std::to_string(files++) + "_" + std::string(name);
  std::ofstream file(path, std::ios::binary);
  file << contents;
  CHECK(file.good()) << path;
  return path;
}

std::unique_ptr<Tokenizer> MakeTokenizer(const std::string& json) {
  const std::string path = WriteFile("tokenizer.json", json);
  auto tokenizer = Tokenizer::Load(path);
  std::remove(path.c_str());
  CHECK_OK(tokenizer);
  return *std::move(tokenizer);
}

std::unique_ptr<Tokenizer> DemoTokenizer() {
  auto tokenizer = Tokenizer::Load("models/demo/tokenizer.json");
  CHECK_OK(tokenizer);
  return *std::move(tokenizer);
}

std::vector<NamedTokenizer> AllTokenizers() {
  std::vector<NamedTokenizer> all;
  all.push_back({"byte-level", MakeTokenizer(ByteLevelJson())});
  all.push_back({"SentencePiece", MakeTokenizer(SentencePieceJson())});
  all.push_back({"SentencePiece, 3 spaces", MakeTokenizer(SentencePieceJson(3))});
  all.push_back({"Metaspace", MakeTokenizer(MetaspaceJson())});
  all.push_back({"WordPiece", MakeTokenizer(WordPieceJson())});
  all.push_back({"no decoder", MakeTokenizer(NoDecoderJson())});
  all.push_back({"strip each", MakeTokenizer(StripEachJson())});
  all.push_back({"demo", DemoTokenizer()});
  return all;
}

}  // namespace pagoda::testing
