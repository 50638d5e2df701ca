#include "coordinator/text/tokenizer.h"

#include <cstdio>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "common/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/text/fixtures.h"

namespace pagoda::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<int32_t> Encode(const Tokenizer& tokenizer,
                            std::string_view text,
                            bool special = true) {
  auto ids = tokenizer.Encode(text, special);
  EXPECT_TRUE(ids.ok()) << ids.status();
  return ids.ok() ? *ids : std::vector<int32_t>();
}

std::string Decode(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, bool skip = false) {
  auto text = tokenizer.Decode(ids, skip);
  EXPECT_TRUE(text.ok()) << text.status();
  return text.ok() ? *text : "";
}

// The status of loading a file with these contents, which must name the file.
absl::Status LoadStatus(std::string_view contents) {
  const std::string path = WriteFile("tokenizer.json", contents);
  const absl::Status status = Tokenizer::Load(path).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr(path));
  EXPECT_LT(status.message().size(), path.size() + 400);
  std::remove(path.c_str());
  return status;
}

TEST(TokenizerTest, BeginTokenIsAddedOnlyByThePostProcessor) {
  const auto with = MakeTokenizer(SentencePieceJson());
  const std::vector<int32_t> plain = Encode(*with, "ab", false);
  std::vector<int32_t> expected = {kBegin};
  expected.insert(expected.end(), plain.begin(), plain.end());
  EXPECT_EQ(Encode(*with, "ab"), expected);
  EXPECT_THAT(Encode(*with, ""), ElementsAre(kBegin));

  const auto without = MakeTokenizer(ByteLevelJson());
  EXPECT_EQ(Encode(*without, "he"), Encode(*without, "he", false));
  EXPECT_THAT(Encode(*without, ""), IsEmpty());
}

TEST(TokenizerTest, SpecialTokensInTheTextCountAsSuch) {
  const auto tokenizer = MakeTokenizer(ByteLevelJson());
  const std::vector<int32_t> ids = Encode(*tokenizer, "he</s><tool x>");
  ASSERT_EQ(ids.size(), 3u);
  EXPECT_EQ(tokenizer->token(ids[0]).text, "he");
  EXPECT_EQ(ids[1], kEnd);
  EXPECT_EQ(ids[2], kTool);
  EXPECT_EQ(Decode(*tokenizer, ids, false), "he</s><tool x>");
  EXPECT_EQ(Decode(*tokenizer, ids, true), "he<tool x>");
}

TEST(TokenizerTest, TokensAreDescribed) {
  const auto byte_level = MakeTokenizer(ByteLevelJson());
  EXPECT_EQ(byte_level->decoder_kind(), DecoderKind::kByteLevel);
  EXPECT_EQ(byte_level->vocab_size(), 4 + 256 + 4 + 1);
  const TokenInfo the = byte_level->token(4 + 256 + 2);
  EXPECT_EQ(the.text, "Ġthe");
  EXPECT_EQ(the.bytes, " the");
  EXPECT_TRUE(the.known && !the.special && !the.byte);
  EXPECT_TRUE(byte_level->token(kEnd).special);
  EXPECT_FALSE(byte_level->token(kTool).special);
  EXPECT_EQ(byte_level->token(kTool).bytes, "<tool x>");
  // The ids have a hole before the last entry.
  EXPECT_FALSE(byte_level->token(4 + 256 + 4).known);
  EXPECT_EQ(byte_level->token(4 + 256 + 4 + 10).text, "lo");
  for (const int32_t id : {-1, 4 + 256 + 4 + 11, INT32_MAX, INT32_MIN}) {
    const TokenInfo info = byte_level->token(id);
    EXPECT_TRUE(!info.known && !info.special && !info.byte && info.text.empty());
  }

  const auto sentence_piece = MakeTokenizer(SentencePieceJson());
  EXPECT_EQ(sentence_piece->decoder_kind(), DecoderKind::kAppending);
  EXPECT_TRUE(sentence_piece->token(4).byte);
  EXPECT_EQ(sentence_piece->token(4).text, "<0x00>");
  EXPECT_FALSE(sentence_piece->token(4 + 256).byte);
  EXPECT_EQ(MakeTokenizer(MixedJson())->decoder_kind(), DecoderKind::kMixed);
}

TEST(TokenizerTest, TextSurvivesThereAndBack) {
  const std::string text = "he lo  the 你好, 😀\n\t é\r\n👩‍🚀";
  for (const std::string& json : {ByteLevelJson(), SentencePieceJson()}) {
    const auto tokenizer = MakeTokenizer(json);
    EXPECT_EQ(Decode(*tokenizer, Encode(*tokenizer, text), true), text);
  }
  const auto demo = DemoTokenizer();
  EXPECT_EQ(Decode(*demo, Encode(*demo, text)), text);
}

TEST(TokenizerTest, IdsOutsideTheVocabularyStandForNothing) {
  const auto tokenizer = MakeTokenizer(ByteLevelJson());
  EXPECT_EQ(Decode(*tokenizer, {-1, 260, INT32_MAX, 1000, 260, INT32_MIN}), "hehe");
  EXPECT_EQ(Decode(*tokenizer, {}), "");
}

TEST(TokenizerTest, TextThatIsNotUtf8IsRefusedWithTheByte) {
  const auto tokenizer = MakeTokenizer(ByteLevelJson());
  const absl::Status status = tokenizer->Encode("ab\xC3(").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("byte 2 of 4"));
}

TEST(TokenizerTest, ZeroBytesAreText) {
  const auto tokenizer = MakeTokenizer(ByteLevelJson());
  const std::string text("a\0b", 3);
  EXPECT_EQ(Decode(*tokenizer, Encode(*tokenizer, text)), text);
}

TEST(TokenizerTest, MissingFilesAndFoldersAreToldApart) {
  const absl::Status missing = Tokenizer::Load("no/such/tokenizer.json").status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.message()), HasSubstr("no/such/tokenizer.json"));
  const absl::Status folder = Tokenizer::Load(::testing::TempDir()).status();
  EXPECT_EQ(folder.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(folder.message()), HasSubstr("not a regular file"));
}

TEST(TokenizerTest, BrokenFilesAreRefused) {
  std::string many_ids = NoDecoderJson();
  many_ids.replace(many_ids.find("\"two\":5"), 7, "\"two\":4000000000");
  const std::string cases[] = {"",
                               "{}",
                               "null",
                               "\xFF\xFE",
                               std::string(100, '\0'),
                               "{\"model\": {\"type\": \"BPE\"}}",
                               std::string(10 << 20, 'x'),
                               std::string(10 << 20, '['),
                               "\"" + std::string(10 << 20, 'x'),
                               many_ids};
  for (const std::string& contents : cases) {
    EXPECT_EQ(LoadStatus(contents).code(), absl::StatusCode::kInvalidArgument)
        << contents.substr(0, 50);
  }
  EXPECT_THAT(std::string(LoadStatus(many_ids).message()),
              HasSubstr("4000000000 is over the limit"));
}

TEST(TokenizerTest, TruncatedFilesAreRefused) {
  const std::string whole = SentencePieceJson();
  Random random(3);
  for (int round = 0; round < 50; ++round) {
    EXPECT_EQ(LoadStatus(whole.substr(0, random.Below(whole.size()))).code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(TokenizerTest, DamagedFilesNeverCrash) {
  const std::string whole = SentencePieceJson();
  Random random(4);
  int refused = 0;
  for (int round = 0; round < 300; ++round) {
    std::string damaged = whole;
    for (uint64_t n = 1 + random.Below(3); n > 0; --n) {
      damaged[random.Below(damaged.size())] = static_cast<char>(random.Below(256));
    }
    const std::string path = WriteFile("tokenizer.json", damaged);
    const auto tokenizer = Tokenizer::Load(path);
    std::remove(path.c_str());
    if (tokenizer.ok()) {
      (*tokenizer)->Encode("ab  é你").status().IgnoreError();
      (*tokenizer)->Decode(std::vector<int32_t>{0, 1, 2, 100, 262}, false).status().IgnoreError();
    } else {
      EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument);
      ++refused;
    }
  }
  EXPECT_GT(refused, 100);
}

TEST(TokenizerTest, AFileOverTheLimitIsNotRead) {
  const std::string path = WriteFile("tokenizer.json", "{}");
  std::filesystem::resize_file(path, Tokenizer::kMaxFileBytes + 1);  // sparse
  const absl::Status status = Tokenizer::Load(path).status();
  std::remove(path.c_str());
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("268435457 bytes"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("at most 268435456"));
}

TEST(TokenizerTest, APanicBelowIsAStatus) {
  const auto tokenizer = MakeTokenizer(PanickingJson());
  EXPECT_EQ(Decode(*tokenizer, {5}), "");
  for (int round = 0; round < 3; ++round) {
    const absl::Status status = tokenizer->Decode(std::vector<int32_t>{4}, false).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    EXPECT_THAT(std::string(status.message()), HasSubstr("panic"));
  }
  EXPECT_EQ(Decode(*tokenizer, {5}), "");
}

TEST(TokenizerTest, ThreadsShareOneTokenizer) {
  const auto tokenizer = DemoTokenizer();
  std::vector<std::string> texts;
  std::vector<std::vector<int32_t>> expected;
  for (int i = 0; i < 200; ++i) {
    texts.push_back("What is PagedAttention number " + std::to_string(i * 7919) + "? 你好\n");
    expected.push_back(Encode(*DemoTokenizer(), texts.back()));
  }
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < texts.size(); ++i) {
        const auto ids = tokenizer->Encode(texts[i]);
        const auto text = tokenizer->Decode(expected[i], true);
        wrong[t] += !ids.ok() || *ids != expected[i] || !text.ok() || *text != texts[i];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(wrong, ElementsAre(0, 0, 0, 0));
}

}  // namespace
}  // namespace pagoda::testing
