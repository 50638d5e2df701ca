#include "coordinator/text/output_text.h"

#include <string>
#include <vector>

#include "common/random.h"
#include "common/utf8.h"
#include "gtest/gtest.h"
#include "tests/coordinator/text/fixtures.h"

namespace pagoda::testing {
namespace {

using Ids = std::vector<int32_t>;
using Stops = std::vector<std::string>;

// Feeds a stream and checks what must hold after every call.
class Reader {
 public:
  Reader(const Tokenizer& tokenizer, Stops stops) : stream_(tokenizer, true, std::move(stops)) {}

  TextDelta Append(const Ids& ids) { return Take(stream_.Append(stream_.next_token(), ids)); }
  TextDelta Finish() { return Take(stream_.Finish()); }

  const std::string& text() const { return text_; }
  int64_t num_tokens() const { return num_tokens_; }
  bool stopped() const { return stream_.stopped(); }

 private:
  TextDelta Take(absl::StatusOr<TextDelta> delta) {
    EXPECT_TRUE(delta.ok()) << delta.status();
    EXPECT_EQ(Utf8ValidPrefix({delta->text.data(), delta->text.size()}), delta->text.size());
    EXPECT_GE(delta->num_tokens, num_tokens_);
    EXPECT_LE(delta->num_tokens, stream_.next_token());
    text_ += delta->text;
    EXPECT_EQ(static_cast<int64_t>(text_.size()), stream_.text_bytes());
    num_tokens_ = delta->num_tokens;
    return *delta;
  }

  TextStream stream_;
  std::string text_;
  int64_t num_tokens_ = 0;
};

TEST(TextStreamTest, AStopStringAcrossTokensEndsTheChoiceAtItsLastToken) {
  const auto tokenizer = MakeTokenizer(ByteLevelJson());
  const Ids ids = *tokenizer->Encode("he the lo");
  Reader reader(*tokenizer, {"e t"});
  EXPECT_EQ(reader.Append({ids[0]}).text, "h");
  const TextDelta delta = reader.Append({ids.begin() + 1, ids.end()});
  EXPECT_TRUE(delta.stopped);
  EXPECT_EQ(delta.text, "");
  EXPECT_EQ(delta.num_tokens, 2);
}

TEST(TextStreamTest, NothingComesAfterAStop) {
  const auto tokenizer = MakeTokenizer(ByteLevelJson());
  Reader reader(*tokenizer, {"he"});
  EXPECT_TRUE(reader.Append({260}).stopped);
  for (int i = 0; i < 3; ++i) {
    const TextDelta delta = reader.Append({262, 263});
    EXPECT_FALSE(delta.stopped);
    EXPECT_EQ(delta.text, "");
    EXPECT_EQ(delta.num_tokens, 1);
  }
  EXPECT_EQ(reader.Finish().num_tokens, 1);
  EXPECT_EQ(reader.text(), "");
}

TEST(TextStreamTest, WhatWaitedComesAtTheEnd) {
  const auto tokenizer = MakeTokenizer(ByteLevelJson());
  Reader reader(*tokenizer, {"hex"});
  EXPECT_EQ(reader.Append({260, 263}).text, "");
  const TextDelta last = reader.Finish();
  EXPECT_FALSE(last.stopped);
  EXPECT_EQ(last.text, "he�");
  EXPECT_EQ(last.num_tokens, 2);
}

TEST(TextStreamTest, ALastByteTokenCanCompleteAStopString) {
  const auto tokenizer = MakeTokenizer(SentencePieceJson());
  const int32_t a = 261, newline = 4 + '\n';
  Reader reader(*tokenizer, {"\n"});
  EXPECT_EQ(reader.Append({a, newline, newline}).num_tokens, 1);
  const TextDelta last = reader.Finish();
  EXPECT_TRUE(last.stopped);
  EXPECT_EQ(last.num_tokens, 2);
  EXPECT_EQ(reader.text(), "a");
}

TEST(TextStreamTest, TokensOfAWaitingRunDoNotCountYet) {
  const auto tokenizer = MakeTokenizer(SentencePieceJson());
  const int32_t a = 261, newline = 4 + '\n';
  Reader reader(*tokenizer, {"\n"});
  EXPECT_EQ(reader.Append({a, newline}).num_tokens, 1);
  EXPECT_EQ(reader.Append({newline}).num_tokens, 1);
  const TextDelta delta = reader.Append({a});
  EXPECT_TRUE(delta.stopped);
  EXPECT_EQ(delta.num_tokens, 2);
  EXPECT_EQ(reader.text(), "a");
}

// Text before the stop string that ends first, and the fewest tokens whose text has it.
struct Expected {
  std::string text;
  int64_t num_tokens;
  bool stopped;
};

Expected Reference(const Tokenizer& tokenizer, const Ids& ids, const Stops& stops) {
  for (size_t count = 0; count <= ids.size(); ++count) {
    const std::string text = *tokenizer.Decode(std::span(ids).first(count), true);
    size_t end = std::string::npos, begin = 0;
    for (const std::string& stop : stops) {
      const size_t at = text.find(stop);
      if (at == std::string::npos || at + stop.size() > end) continue;
      begin = at + stop.size() < end ? at : std::min(at, begin);
      end = at + stop.size();
    }
    if (end != std::string::npos) return {text.substr(0, begin), static_cast<int64_t>(count), true};
  }
  return {*tokenizer.Decode(ids, true), static_cast<int64_t>(ids.size()), false};
}

TEST(TextStreamTest, AgreesWithDecodingPrefixesHoweverTheTokensAreCut) {
  const std::vector<std::string> words =
      {"he", "lo", " the", "a", "b", "ab", " ", "\n", "你", "😀", "é"};
  Random random(8);
  auto sentence = [&](uint64_t length) {
    std::string text;
    for (; length > 0; --length) text += words[random.Below(words.size())];
    return text;
  };
  int stopped = 0, rounds = 0;
  for (const std::string& json : {ByteLevelJson(), SentencePieceJson()}) {
    const auto tokenizer = MakeTokenizer(json);
    for (int round = 0; round < 600; ++round, ++rounds) {
      const Ids ids = *tokenizer->Encode(sentence(random.Below(20)), false);
      Stops stops(random.Below(4));
      for (std::string& stop : stops) stop = sentence(1 + random.Below(3));
      const Expected expected = Reference(*tokenizer, ids, stops);
      Reader reader(*tokenizer, stops);
      for (size_t at = 0; at < ids.size();) {
        const size_t size = std::min<size_t>(random.Below(4), ids.size() - at);
        reader.Append({ids.begin() + at, ids.begin() + at + size});
        at += size;
      }
      reader.Finish();
      ASSERT_EQ(reader.text(), expected.text);
      ASSERT_EQ(reader.num_tokens(), expected.num_tokens);
      ASSERT_EQ(reader.stopped(), expected.stopped);
      stopped += expected.stopped;
    }
  }
  EXPECT_GT(stopped, rounds / 4);
  EXPECT_LT(stopped, rounds * 9 / 10);
}

TEST(TextStreamTest, AFailingDecodeIsAStatus) {
  const auto tokenizer = MakeTokenizer(PanickingJson());
  TextStream stream(*tokenizer, true, {});
  EXPECT_EQ(stream.Append(0, Ids{4}).status().code(), absl::StatusCode::kInternal);
}

TEST(TextStreamDeathTest, AGapInTheTokensIsABug) {
  const auto tokenizer = MakeTokenizer(ByteLevelJson());
  TextStream stream(*tokenizer, true, {});
  EXPECT_DEATH(stream.Append(1, Ids{260}).status().IgnoreError(), "first_token == next_token_");
}

}  // namespace
}  // namespace pagoda::testing
