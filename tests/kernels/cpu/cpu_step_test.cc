#include "kernels/cpu/cpu_step.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cpu/kv_pool.h"

namespace pagoda::cpu {
namespace {

constexpr StepLimits kLimits{.max_tokens = 12,
                             .max_lanes = 3,
                             .max_logits_rows = 2,
                             .max_sample_rows = 2,
                             .max_model_len = 40,
                             .vocab_size = 10};

class CpuStepTest : public testing::Test {
 protected:
  CpuStepTest()
      : pool_(
            *CpuKvPool::Make({.num_layers = 1, .num_kv_heads = 1, .head_dim = 16, .block_size = 8},
                             10)),
        step_(kLimits),
        tables_(kLimits.max_lanes * TableStride(kLimits)) {}

  absl::Status Fill(std::vector<SequenceInput> sequences, std::vector<LogitsRow> logits = {}) {
    return step_.Fill({.sequences = sequences, .logits_rows = logits}, *pool_, &tables_);
  }

  std::unique_ptr<CpuKvPool> pool_;
  CpuStep step_;
  std::vector<int32_t> tables_;
  const std::vector<int32_t> three_ = {4, 5, 6};
  const std::vector<int32_t> blocks_ = {7, 3, 9};
};

TEST_F(CpuStepTest, RowsAreTheTokensInOrderWithTheirPlaces) {
  ASSERT_TRUE(
      Fill({{.lane = 2, .start = 14, .num_tokens = 3, .tokens = three_, .block_table = blocks_},
            {.lane = 0, .start = 5, .num_tokens = 1, .block_table = blocks_}},
           {{1, 0}, {0, 2}})
          .ok());
  ASSERT_EQ(step_.num_rows(), 4);
  struct Row {
    int token, lane, position, block, slot;
  };
  const Row want[] = {{4, 2, 14, 3, 6},
                      {5, 2, 15, 3, 7},
                      {6, 2, 16, 9, 0},
                      {CpuStep::kLaneToken, 0, 5, 7, 5}};
  for (int i = 0; i < 4; ++i) {
    const StepToken& got = step_.tokens()[i];
    EXPECT_EQ(got.token, want[i].token) << i;
    EXPECT_EQ(got.lane, want[i].lane) << i;
    EXPECT_EQ(got.position, want[i].position) << i;
    EXPECT_EQ(got.block, want[i].block) << i;
    EXPECT_EQ(got.slot, want[i].slot) << i;
  }
  EXPECT_EQ(step_.sequences()[0].first_row, 0);
  EXPECT_EQ(step_.sequences()[0].first_position, 14);
  EXPECT_EQ(step_.sequences()[0].num_rows, 3);
  EXPECT_EQ(step_.sequences()[1].first_row, 3);
  EXPECT_EQ(step_.sequences()[0].blocks[2], 9);
  EXPECT_EQ(step_.sequences()[1].blocks[0], 7);
  ASSERT_EQ(step_.num_logits_rows(), 2);
  EXPECT_EQ(step_.logits_rows()[0], 3);
  EXPECT_EQ(step_.logits_rows()[1], 2);
}

TEST_F(CpuStepTest, OnlyWhatIsNewOfATableIsWritten) {
  SequenceInput input{.lane = 1, .start = 3, .num_tokens = 1, .block_table = blocks_};
  ASSERT_TRUE(Fill({input}).ok());
  const std::vector<int32_t> longer = {-1, 3, 4, 5};  // the first entry is not looked at again
  input.block_table = longer;
  input.table_kept = 1;
  ASSERT_TRUE(Fill({{.lane = 0, .num_tokens = 1, .block_table = blocks_}, input}).ok());
  const int32_t* const table = step_.sequences()[1].blocks;
  EXPECT_EQ(std::vector<int32_t>(table, table + 4), (std::vector<int32_t>{7, 3, 4, 5}));
  EXPECT_EQ(step_.sequences()[0].blocks[0], 7);
  for (const int kept : {-1, 5}) {
    input.table_kept = kept;
    EXPECT_EQ(Fill({input}).code(), absl::StatusCode::kInvalidArgument) << kept;
  }
  const std::vector<int32_t> too_long(6, 1);
  EXPECT_EQ(Fill({{.lane = 0, .num_tokens = 1, .block_table = too_long}}).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(CpuStepTest, LaneTokensAreFilledInAndAMissingOneIsRefused) {
  const SequenceInput implicit{.lane = 1, .start = 3, .num_tokens = 1, .block_table = blocks_};
  ASSERT_TRUE(Fill({implicit}).ok());
  EXPECT_TRUE(step_.ResolveTokens({-1, 8, -1}).ok());
  EXPECT_EQ(step_.tokens()[0].token, 8);
  ASSERT_TRUE(Fill({implicit}).ok());
  const absl::Status status = step_.ResolveTokens({8, -1, 8});
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("lane 1"));
}

TEST_F(CpuStepTest, BlocksBeforeTheWindowAreNotLookedAt) {
  const std::vector<int32_t> pruned = {0, -5, 9};
  SequenceInput input{.start = 20, .num_tokens = 1, .block_table = pruned, .window = 5};
  EXPECT_TRUE(Fill({input}).ok());
  input.window = 6;  // sees position 15, in the second block
  EXPECT_EQ(Fill({input}).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(CpuStepTest, WhatIsOutOfRangeIsRefusedWithTheLimit) {
  const SequenceInput good{.lane = 1,
                           .start = 0,
                           .num_tokens = 3,
                           .tokens = three_,
                           .block_table = blocks_};
  const std::vector<int32_t> bad_token = {4, 10, 5}, negative = {4, -1, 5}, zero_block = {0},
                             high_block = {10}, thirteen(13, 1);
  struct Case {
    std::function<void(SequenceInput&)> change;
    const char* message;
  };
  const std::vector<Case> cases = {
      {[](SequenceInput& s) { s.lane = 3; }, "lanes are 0 to 2"},
      {[](SequenceInput& s) { s.lane = -1; }, "lane -1"},
      {[](SequenceInput& s) { s.start = -1; }, "positions from -1"},
      {[](SequenceInput& s) { s.start = 38; }, "to 41 of 40"},
      {[](SequenceInput& s) { s.start = 2147483647; }, "of 40"},
      {[](SequenceInput& s) { s.num_tokens = 0; }, "positions from 0 to 0"},
      {[](SequenceInput& s) { s.num_tokens = 2; }, "3 ids for 2 tokens"},
      {[](SequenceInput& s) { s.tokens = {}; }, "0 ids for 3 tokens"},
      {[&](SequenceInput& s) {
         s.tokens = thirteen;
         s.num_tokens = 13;
       },
       "limit 12"},
      {[&](SequenceInput& s) { s.tokens = bad_token; }, "token 10: the vocabulary has 10"},
      {[&](SequenceInput& s) { s.tokens = negative; }, "token -1"},
      {[](SequenceInput& s) { s.window = -2; }, "window -2"},
      {[](SequenceInput& s) { s.start = 22; }, "3 blocks of 8 for 25 tokens"},
      {[&](SequenceInput& s) { s.block_table = zero_block; }, "block 0: blocks are 1 to 9"},
      {[&](SequenceInput& s) { s.block_table = high_block; }, "block 10: blocks are 1 to 9"}};
  for (const Case& test : cases) {
    SequenceInput input = good;
    test.change(input);
    const absl::Status status = Fill({input});
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << test.message;
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(test.message));
  }
}

TEST_F(CpuStepTest, TooManySequencesOrLogitsRowsOutOfRangeAreRefused) {
  const SequenceInput good{.lane = 1,
                           .start = 0,
                           .num_tokens = 3,
                           .tokens = three_,
                           .block_table = blocks_};
  EXPECT_EQ(Fill({good, good, good, good}).code(), absl::StatusCode::kInvalidArgument);
  for (const std::vector<LogitsRow>& logits :
       std::vector<std::vector<LogitsRow>>{{{1, 0}},
                                           {{-1, 0}},
                                           {{0, 3}},
                                           {{0, -1}},
                                           {{0, 0}, {0, 1}, {0, 2}}}) {
    EXPECT_EQ(Fill({good}, logits).code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_TRUE(Fill({good}, {{0, 0}, {0, 0}}).ok()) << "a step may follow a refused one";
}

TEST_F(CpuStepTest, AttentionIsDividedOncePerShape) {
  ASSERT_TRUE(Fill({{.num_tokens = 3, .tokens = three_, .block_table = blocks_}}).ok());
  const AttentionShape shape{.num_heads = 2,
                             .num_kv_heads = 1,
                             .head_dim = 16,
                             .block_size = 8,
                             .scale = 1,
                             .dtype = DType::kBf16};
  const auto& items = step_.AttentionItems(shape);
  const size_t count = items.size();
  ASSERT_GT(count, 0u);
  EXPECT_EQ(step_.AttentionItems(shape).size(), count);
  ASSERT_TRUE(Fill({}).ok());
  EXPECT_EQ(step_.AttentionItems(shape).size(), 0u);
}

}  // namespace
}  // namespace pagoda::cpu
