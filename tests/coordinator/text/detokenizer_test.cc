#include "coordinator/text/detokenizer.h"

#include <chrono>
#include <span>
#include <string>
#include <vector>

#include "common/random.h"
#include "common/utf8.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/text/fixtures.h"

namespace pagoda::testing {
namespace {

using ::testing::ElementsAre;

using Ids = std::vector<int32_t>;

// The text of each call, then of Flush.
std::vector<std::string> TextPerCall(const Tokenizer& tokenizer,
                                     bool skip,
                                     const std::vector<Ids>& calls) {
  IncrementalDecoder decoder(tokenizer, skip);
  std::vector<std::string> texts;
  for (size_t i = 0; i <= calls.size(); ++i) {
    std::vector<TextPiece> pieces;
    const absl::Status status =
        i < calls.size() ? decoder.Append(calls[i], &pieces) : decoder.Flush(&pieces);
    EXPECT_TRUE(status.ok()) << status;
    std::string text;
    for (const TextPiece& piece : pieces) text += piece.text;
    texts.push_back(text);
  }
  return texts;
}

std::string Joined(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += text;
  return all;
}

// One call per id.
std::vector<Ids> Single(const Ids& ids) {
  std::vector<Ids> calls;
  for (const int32_t id : ids) calls.push_back({id});
  return calls;
}

int32_t ByteLevelId(int byte) { return 4 + byte; }
int32_t ByteToken(int byte) { return 4 + byte; }

TEST(IncrementalDecoderTest, AByteLevelCharacterComesWhole) {
  const auto tokenizer = MakeTokenizer(ByteLevelJson());
  const Ids ids = {262, ByteLevelId(0xE4), ByteLevelId(0xBD), ByteLevelId(0xA0), 260};
  EXPECT_THAT(TextPerCall(*tokenizer, false, Single(ids)),
              ElementsAre(" the", "", "", "你", "he", ""));
}

TEST(IncrementalDecoderTest, AnUnfinishedByteLevelCharacterIsReplaced) {
  const auto tokenizer = MakeTokenizer(ByteLevelJson());
  EXPECT_THAT(TextPerCall(*tokenizer, false, Single({263, 260, ByteLevelId(0xF0)})),
              ElementsAre("", "�he", "", "�"));
}

TEST(IncrementalDecoderTest, OnlyTheFirstSpaceOfASentenceIsDropped) {
  const auto tokenizer = MakeTokenizer(SentencePieceJson());
  const int32_t space = 260, a = 261, space_a = 265, two_spaces = 266;
  EXPECT_THAT(TextPerCall(*tokenizer, false, Single({space_a, space_a, space, a, two_spaces})),
              ElementsAre("a", " a", " ", "a", "  ", ""));
  EXPECT_THAT(TextPerCall(*tokenizer, false, Single({space, space, space, a, space_a})),
              ElementsAre("", " ", " ", "a", " a", ""));
}

TEST(IncrementalDecoderTest, ARunOfByteTokensWaitsForItsEnd) {
  const auto tokenizer = MakeTokenizer(SentencePieceJson());
  const int32_t a = 261;
  const Ids good = {a, ByteToken(0xE4), ByteToken(0xBD), ByteToken(0xA0), ByteToken('\n'), a};
  EXPECT_THAT(TextPerCall(*tokenizer, false, Single(good)),
              ElementsAre("a", "", "", "", "", "你\na", ""));
  // One stray byte, and Hugging Face's decoder replaces the whole run.
  const Ids bad = {ByteToken(0xE4), ByteToken(0xBD), ByteToken(0xA0), ByteToken(0xE4), a};
  EXPECT_THAT(TextPerCall(*tokenizer, false, Single(bad)),
              ElementsAre("", "", "", "", "����a", ""));
  EXPECT_THAT(TextPerCall(*tokenizer, false, Single({a, ByteToken(0xC3), ByteToken(0xA9)})),
              ElementsAre("a", "", "", "é"));
}

TEST(IncrementalDecoderTest, ASpaceAfterALongRunStays) {
  const auto tokenizer = MakeTokenizer(SentencePieceJson());
  const int32_t space = 260, a = 261, space_a = 265;
  Ids ids(100, ByteToken('x'));
  ids.insert(ids.end(), {a, space, space_a});
  const auto texts = TextPerCall(*tokenizer, false, Single(ids));
  EXPECT_EQ(Joined(texts), std::string(100, 'x') + "a  a");
}

TEST(IncrementalDecoderTest, PiecesOfARunNameTheirTokens) {
  const auto tokenizer = MakeTokenizer(SentencePieceJson());
  IncrementalDecoder decoder(*tokenizer, true);
  std::vector<TextPiece> pieces;
  const Ids run = {ByteToken(' '), ByteToken(0xC3), kEnd, ByteToken(0xA9)};
  ASSERT_TRUE(decoder.Append(run, &pieces).ok());
  EXPECT_TRUE(pieces.empty());
  EXPECT_EQ(decoder.num_settled(), 0);
  ASSERT_TRUE(decoder.Append(Ids{263}, &pieces).ok());
  EXPECT_EQ(decoder.num_settled(), 5);
  // The leading space is the decoder's to drop; token 2 is skipped and breaks no run.
  ASSERT_EQ(pieces.size(), 3u);
  EXPECT_EQ(pieces[0].token, 1);
  EXPECT_EQ(pieces[0].text, "\xC3");
  EXPECT_EQ(pieces[1].token, 3);
  EXPECT_EQ(pieces[1].text, "\xA9");
  EXPECT_EQ(pieces[2].token, 4);
  EXPECT_EQ(pieces[2].text, "c");
}

TEST(IncrementalDecoderTest, SpecialTokensShowOnlyWhenNotSkipped) {
  for (const auto& [name, tokenizer] : AllTokenizers()) {
    if (name == "demo") continue;
    const std::vector<Ids> calls = {{kTool}, {kEnd}, {kUnknown}};
    const auto all = TextPerCall(*tokenizer, false, calls);
    EXPECT_NE(all[1].find("</s>"), std::string::npos) << name;
    EXPECT_NE(all[2].find("<unk>"), std::string::npos) << name;
    EXPECT_THAT(TextPerCall(*tokenizer, true, calls), ElementsAre("<tool x>", "", "", "")) << name;
  }
}

// Random ids, mostly of a few kinds in a row so that long runs and their borders happen.
Ids RandomIds(const Tokenizer& tokenizer, size_t count, Random& random) {
  const int32_t limit = static_cast<int32_t>(tokenizer.vocab_size()) + 20;
  Ids ids;
  while (ids.size() < count) {
    const int32_t first = static_cast<int32_t>(random.Below(limit)) - 2;
    const int32_t width = 1 + static_cast<int32_t>(random.Below(random.Bernoulli(0.5) ? 3 : limit));
    for (uint64_t n = 1 + random.Below(random.Bernoulli(0.1) ? 80 : 8); n > 0; --n) {
      ids.push_back(first + static_cast<int32_t>(random.Below(width)));
    }
  }
  return ids;
}

// Calls of 0 to 3 ids, now and then of many.
std::vector<Ids> RandomCalls(const Ids& ids, Random& random) {
  std::vector<Ids> calls;
  for (size_t at = 0; at < ids.size();) {
    const size_t size = std::min(ids.size() - at, random.Below(random.Bernoulli(0.1) ? 40 : 4));
    calls.emplace_back(ids.begin() + at, ids.begin() + at + size);
    at += size;
  }
  return calls;
}

TEST(IncrementalDecoderTest, PiecesTogetherAreTheWholeDecodeForAnyIds) {
  Random random(5);
  for (const auto& [name, tokenizer] : AllTokenizers()) {
    for (int round = 0; round < 400; ++round) {
      const Ids ids = RandomIds(*tokenizer, random.Below(120), random);
      const bool skip = random.Bernoulli(0.5);
      const auto texts = TextPerCall(*tokenizer, skip, RandomCalls(ids, random));
      for (const std::string& text : texts) {
        ASSERT_EQ(Utf8ValidPrefix({text.data(), text.size()}), text.size()) << name;
      }
      ASSERT_EQ(Joined(texts), *tokenizer->Decode(ids, skip)) << name << ", round " << round;
    }
  }
}

TEST(IncrementalDecoderTest, CutsDoNotMoveTextBetweenTokens) {
  Random random(6);
  for (const auto& [name, tokenizer] : AllTokenizers()) {
    for (int round = 0; round < 50; ++round) {
      const Ids ids = RandomIds(*tokenizer, 60, random);
      std::vector<std::vector<TextPiece>> pieces(2);
      for (auto& out : pieces) {
        IncrementalDecoder decoder(*tokenizer, false);
        for (const Ids& call : RandomCalls(ids, random)) {
          ASSERT_TRUE(decoder.Append(call, &out).ok());
        }
        ASSERT_TRUE(decoder.Flush(&out).ok());
      }
      ASSERT_EQ(pieces[0].size(), pieces[1].size()) << name;
      for (size_t i = 0; i < pieces[0].size(); ++i) {
        ASSERT_EQ(pieces[0][i].token, pieces[1][i].token) << name;
        ASSERT_EQ(pieces[0][i].text, pieces[1][i].text) << name;
        ASSERT_FALSE(pieces[0][i].text.empty()) << name;
        ASSERT_TRUE(i == 0 || pieces[0][i - 1].token < pieces[0][i].token ||
                    (pieces[0][i - 1].token == pieces[0][i].token && i + 1 == pieces[0].size()))
            << name;
      }
    }
  }
}

TEST(IncrementalDecoderTest, AMixedDecoderGivesWholeCharactersOfRealText) {
  const auto tokenizer = MakeTokenizer(MixedJson());
  const std::string text = " he lo the 你好 😀, the end: 👩‍🚀!";
  const Ids ids = *tokenizer->Encode(text);
  const auto texts = TextPerCall(*tokenizer, false, Single(ids));
  EXPECT_EQ(Joined(texts), text.substr(1));
  for (const std::string& piece : texts) EXPECT_EQ(piece.find("�"), std::string::npos);
  // A model that gives nothing but broken bytes is heard in the end.
  IncrementalDecoder decoder(*tokenizer, false);
  std::vector<TextPiece> pieces;
  ASSERT_TRUE(decoder.Append(Ids(100, ByteLevelId(0xFF)), &pieces).ok());
  EXPECT_FALSE(pieces.empty());
}

TEST(IncrementalDecoderTest, WorkPerTokenDoesNotGrowWithTheSequence) {
  const auto sentence_piece = MakeTokenizer(SentencePieceJson());
  const auto strip_each = MakeTokenizer(StripEachJson());
  const auto mixed = MakeTokenizer(MixedJson());
  const struct {
    const Tokenizer& tokenizer;
    int32_t id;
  } cases[] = {{*sentence_piece, ByteToken(0xE4)},  // one endless run
               {*sentence_piece, 260},              // nothing but spaces
               {*strip_each, 4},                    // nothing at all
               {*mixed, ByteLevelId(0xFF)}};        // nothing but broken bytes
  // Work that grew with the sequence would be 10,000 times as much: hours.
  const auto begin = std::chrono::steady_clock::now();
  for (const auto& c : cases) {
    const Ids ids(20000, c.id);
    EXPECT_EQ(Joined(TextPerCall(c.tokenizer, false, Single(ids))),
              *c.tokenizer.Decode(ids, false));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
}

TEST(IncrementalDecoderTest, AFailingDecodeIsAStatus) {
  const auto tokenizer = MakeTokenizer(PanickingJson());
  IncrementalDecoder decoder(*tokenizer, false);
  std::vector<TextPiece> pieces;
  EXPECT_EQ(decoder.Append(Ids{4}, &pieces).code(), absl::StatusCode::kInternal);
}

TEST(IncrementalDecoderTest, AnEmptySequenceHasNoText) {
  for (const auto& [name, tokenizer] : AllTokenizers()) {
    EXPECT_THAT(TextPerCall(*tokenizer, true, {{}, {}}), ElementsAre("", "", "")) << name;
  }
}

}  // namespace
}  // namespace pagoda::testing
