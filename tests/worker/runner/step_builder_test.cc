#include "worker/runner/step_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/worker/runner/plan_text.h"

namespace pagoda {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int32_t kMaxStepTokens = 12;
constexpr int32_t kWindow = 5;

class StepBuilderTest : public testing::Test {
 protected:
  // A lane with `tokens` tokens of history (lane * 10, lane * 10 + 1, ...), blocks from `first`.
  void Bind(uint32_t lane, uint32_t tokens, uint32_t first, uint32_t blocks, uint32_t length = 0) {
    std::vector<uint32_t> ids(tokens);
    for (uint32_t i = 0; i < tokens; ++i) ids[i] = lane * 10 + i;
    LaneSampling sampling;
    sampling.params.seed = 1000 + lane;
    sampling.sequence_index = static_cast<int32_t>(lane) + 50;
    ASSERT_TRUE(lanes_.Bind(lane, ids, tokens, length, sampling).ok());
    ASSERT_TRUE(lanes_.Append(lane, first, blocks).ok());
  }

  absl::Status Build(const std::string& rows = "") {
    return builder_.Build(ParsePlan(rows).rows());
  }

  void ExpectRefused(const std::string& rows,
                     const std::string& message,
                     absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
    const absl::Status status = Build(rows);
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }

  Lanes lanes_{
      {.max_lanes = 6, .max_model_len = 32, .block_size = 8, .num_blocks = 40, .vocab_size = 100}};
  StepBuilder builder_{lanes_, kMaxStepTokens, kWindow};
};

TEST_F(StepBuilderTest, NoLanesNoRows) {
  ASSERT_TRUE(Build().ok());
  EXPECT_THAT(builder_.input().sequences, IsEmpty());
  EXPECT_THAT(builder_.input().logits_rows, IsEmpty());
  EXPECT_THAT(builder_.sample_rows(), IsEmpty());
}

TEST_F(StepBuilderTest, AnImplicitRowIsTheNextTokenOfTheHistory) {
  Bind(2, 4, 7, 1, 1);
  ASSERT_TRUE(Build().ok());
  ASSERT_EQ(builder_.input().sequences.size(), 1u);
  const SequenceInput& row = builder_.input().sequences[0];
  EXPECT_EQ(row.lane, 2);
  EXPECT_EQ(row.start, 1);
  EXPECT_EQ(row.num_tokens, 1);
  EXPECT_EQ(row.window, kWindow);
  EXPECT_THAT(row.tokens, ElementsAre(21));
  EXPECT_THAT(row.block_table, ElementsAre(7));
  EXPECT_THAT(builder_.sample_rows(), IsEmpty()) << "the history goes on: nothing is drawn";
}

TEST_F(StepBuilderTest, TheLastTokenComesFromTheDeviceAndDraws) {
  Bind(2, 4, 7, 1, 3);
  ASSERT_TRUE(Build().ok());
  const SequenceInput& row = builder_.input().sequences[0];
  EXPECT_EQ(row.start, 3);
  EXPECT_EQ(row.num_tokens, 1);
  EXPECT_THAT(row.tokens, IsEmpty());
  ASSERT_EQ(builder_.sample_rows().size(), 1u);
  const SampleRow& sample = builder_.sample_rows()[0];
  EXPECT_EQ(sample.lane, 2);
  EXPECT_EQ(sample.logits_row, 0);
  EXPECT_EQ(sample.position, 4);
  EXPECT_EQ(sample.params.seed, 1002u);
  EXPECT_EQ(sample.sequence_index, 52);
}

TEST_F(StepBuilderTest, RowsAndDrawsAreByAscendingLane) {
  Bind(5, 3, 1, 1, 2);
  Bind(0, 6, 2, 1);
  Bind(3, 4, 3, 1, 3);
  Bind(1, 4, 4, 1);
  ASSERT_TRUE(Build("rows { lane: 0 chunk: 6 } rows { lane: 1 chunk: 3 }").ok());
  const StepInput input = builder_.input();
  ASSERT_EQ(input.sequences.size(), 4u);
  EXPECT_THAT(input.sequences[0].tokens, ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(input.sequences[1].tokens, ElementsAre(10, 11, 12));
  EXPECT_EQ(input.sequences[2].lane, 3);
  EXPECT_EQ(input.sequences[3].lane, 5);
  ASSERT_EQ(input.logits_rows.size(), 3u) << "the chunk of lane 1 does not reach its end";
  EXPECT_EQ(input.logits_rows[0].sequence, 0);
  EXPECT_EQ(input.logits_rows[0].token_offset, 5);
  EXPECT_EQ(input.logits_rows[1].sequence, 2);
  EXPECT_EQ(input.logits_rows[2].sequence, 3);
  ASSERT_EQ(builder_.sample_rows().size(), 3u);
  EXPECT_EQ(builder_.sample_rows()[0].lane, 0);
  EXPECT_EQ(builder_.sample_rows()[0].position, 6);
  EXPECT_EQ(builder_.sample_rows()[1].lane, 3);
  EXPECT_EQ(builder_.sample_rows()[2].lane, 5);
  EXPECT_EQ(builder_.sample_rows()[2].logits_row, 2);
  EXPECT_EQ(builder_.tokens(1), 3);
  EXPECT_EQ(builder_.tokens(3), 1);
}

TEST_F(StepBuilderTest, AHeldLaneSitsOut) {
  Bind(0, 3, 1, 1);
  Bind(1, 3, 2, 1);
  ASSERT_TRUE(Build("rows { lane: 0 hold: true }").ok());
  ASSERT_EQ(builder_.input().sequences.size(), 1u);
  EXPECT_EQ(builder_.input().sequences[0].lane, 1);
  EXPECT_EQ(builder_.tokens(0), 0);
  ASSERT_TRUE(Build("rows { lane: 1 hold: true } ").ok()) << "the next plan starts anew";
  EXPECT_EQ(builder_.input().sequences[0].lane, 0);
}

TEST_F(StepBuilderTest, RowExceptionsAreChecked) {
  Bind(0, 4, 1, 1);
  Bind(1, 4, 2, 1);
  ExpectRefused("rows { lane: 0 chunk: 0 }", "a chunk of 0 tokens: 1 to 12");
  ExpectRefused("rows { lane: 0 chunk: 5 }", "5 tokens to process, its history has 4 left");
  ExpectRefused("rows { lane: 0 chunk: 13 }", "a chunk of 13 tokens: 1 to 12");
  ExpectRefused("rows { lane: 0 chunk: 4294967295 }", "a chunk of 4294967295");
  ExpectRefused("rows { lane: 0 hold: false }", "hold is false");
  ExpectRefused("rows { lane: 0 }", "says nothing");
  ExpectRefused("rows { lane: 2 hold: true }", "lane 2 is not bound");
  ExpectRefused("rows { lane: 6 hold: true }", "lane 6: lanes are 0 to 5");
  ExpectRefused("rows { lane: 1 hold: true } rows { lane: 0 hold: true }", "lane 0 after lane 1");
  ExpectRefused("rows { lane: 1 hold: true } rows { lane: 1 hold: true }", "lane 1 after lane 1");
  ExpectRefused("rows { lane: 0 draft: 2 }", "draft", absl::StatusCode::kUnimplemented);
  ExpectRefused("rows { lane: 0 chunk: 2 all_logits: true }",
                "all_logits",
                absl::StatusCode::kUnimplemented);
}

TEST_F(StepBuilderTest, ALaneWithoutATokenLeftIsRefused) {
  Bind(0, 8, 1, 1);
  lanes_.Advance(0, 4);
  ASSERT_TRUE(lanes_.Truncate(0, 4).ok());
  ExpectRefused("", "lane 0: 1 tokens to process, its history has 0 left");
  EXPECT_TRUE(Build("rows { lane: 0 hold: true }").ok());
}

TEST_F(StepBuilderTest, ATableTooShortIsRefused) {
  Bind(0, 9, 1, 1);
  ExpectRefused("rows { lane: 0 chunk: 9 }", "a table of 1 blocks, 9 tokens need 2");
  EXPECT_TRUE(Build("rows { lane: 0 chunk: 8 }").ok());
}

TEST_F(StepBuilderTest, AStepHasALimitOfTokens) {
  Bind(0, 8, 1, 1);
  Bind(1, 8, 2, 1);
  EXPECT_TRUE(Build("rows { lane: 0 chunk: 8 } rows { lane: 1 chunk: 4 }").ok());
  ExpectRefused("rows { lane: 0 chunk: 8 } rows { lane: 1 chunk: 5 }",
                "lane 1: 13 tokens in a step of at most 12");
}

TEST_F(StepBuilderTest, AFullHistoryCannotDraw) {
  Bind(0, 32, 1, 4, 30);
  EXPECT_TRUE(Build().ok());
  lanes_.Advance(0, 1);
  ExpectRefused("", "no room to draw beyond max_model_len 32");
}

TEST_F(StepBuilderTest, TwoRowsNeverWriteOneBlock) {
  Bind(0, 9, 1, 2, 8);
  Bind(1, 9, 1, 2, 8);  // the same blocks: 1 is only read, 2 is written
  ExpectRefused("", "lane 1: block 2 is written twice");
  EXPECT_TRUE(Build("rows { lane: 1 hold: true }").ok());
  ASSERT_TRUE(lanes_.Set(1, 1, 3).ok());
  EXPECT_TRUE(Build().ok()) << "a shared full block is no conflict";
  ASSERT_TRUE(lanes_.Truncate(1, 8).ok());
  Bind(2, 12, 5, 1);
  ASSERT_TRUE(lanes_.Append(2, 5, 1).ok());
  ExpectRefused("rows { lane: 1 hold: true } rows { lane: 2 chunk: 11 }",
                "lane 2: block 5 is written twice");
}

TEST_F(StepBuilderTest, AForkSharesItsSourcesRowAndDrawsItsOwn) {
  Bind(4, 4, 1, 1);
  LaneSampling other;
  other.params.seed = 77;
  other.sequence_index = 9;
  ASSERT_TRUE(lanes_.Fork(4, 1, other).ok());
  ASSERT_TRUE(Build("rows { lane: 4 chunk: 4 }").ok());
  ASSERT_EQ(builder_.input().sequences.size(), 1u);
  EXPECT_EQ(builder_.input().logits_rows.size(), 1u);
  ASSERT_EQ(builder_.sample_rows().size(), 2u);
  EXPECT_EQ(builder_.sample_rows()[0].lane, 1);
  EXPECT_EQ(builder_.sample_rows()[0].params.seed, 77u);
  EXPECT_EQ(builder_.sample_rows()[0].sequence_index, 9);
  EXPECT_EQ(builder_.sample_rows()[0].position, 4);
  EXPECT_EQ(builder_.sample_rows()[1].lane, 4);
  EXPECT_EQ(builder_.sample_rows()[0].logits_row, builder_.sample_rows()[1].logits_row);
  EXPECT_EQ(builder_.tokens(1), 4);
}

TEST_F(StepBuilderTest, AForkOfAChunkOrAHeldLaneDrawsNothing) {
  Bind(0, 6, 1, 1);
  ASSERT_TRUE(lanes_.Fork(0, 1, {}).ok());
  ASSERT_TRUE(Build("rows { lane: 0 chunk: 3 }").ok());
  EXPECT_THAT(builder_.sample_rows(), IsEmpty());
  EXPECT_EQ(builder_.tokens(1), 3);
  ASSERT_TRUE(Build("rows { lane: 0 hold: true }").ok());
  EXPECT_THAT(builder_.input().sequences, IsEmpty());
  EXPECT_EQ(builder_.tokens(1), 0);
}

TEST_F(StepBuilderTest, AForkThatLeftItsSourcesPathIsRefused) {
  Bind(0, 6, 1, 1, 5);
  ASSERT_TRUE(lanes_.Fork(0, 1, {}).ok());
  ExpectRefused("rows { lane: 1 hold: true }", "shares its source's row");
  ASSERT_TRUE(lanes_.Set(1, 0, 9).ok());
  ExpectRefused("", "lane 1 was forked in this plan and differs from lane 0");
  ASSERT_TRUE(lanes_.Set(1, 0, 1).ok());
  EXPECT_TRUE(Build().ok());
  ASSERT_TRUE(lanes_.Truncate(1, 5).ok());
  ExpectRefused("", "differs from lane 0");
}

TEST_F(StepBuilderTest, AfterItsPlanAForkHasRowsOfItsOwn) {
  Bind(0, 6, 1, 1, 5);
  ASSERT_TRUE(lanes_.Fork(0, 1, {}).ok());
  lanes_.EndPlan();
  ExpectRefused("", "block 1 is written twice");
  ASSERT_TRUE(lanes_.Set(1, 0, 2).ok());
  ASSERT_TRUE(Build().ok());
  EXPECT_EQ(builder_.input().sequences.size(), 2u);
}

TEST_F(StepBuilderTest, SteadyDecodeKeepsItsBuffers) {
  Bind(0, 4, 1, 1, 3);
  Bind(1, 4, 2, 1, 3);
  ASSERT_TRUE(Build().ok());
  const auto* sequences = builder_.input().sequences.data();
  const auto* samples = builder_.sample_rows().data();
  const auto* history = lanes_.lane(0).history.data();
  for (int i = 0; i < 4; ++i) {
    for (int32_t lane : {0, 1}) {
      lanes_.Advance(lane, 1);
      lanes_.Learn(lanes_.Draw(lane), 9);
    }
    ASSERT_TRUE(Build().ok());
    EXPECT_EQ(builder_.input().sequences.data(), sequences);
    EXPECT_EQ(builder_.sample_rows().data(), samples);
    EXPECT_EQ(lanes_.lane(0).history.data(), history);
  }
}

}  // namespace
}  // namespace pagoda
