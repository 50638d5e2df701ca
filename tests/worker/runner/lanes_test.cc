#include "worker/runner/lanes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "common/hash.h"

namespace pagoda {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr LaneLimits kLimits = {.max_lanes = 4,
                                .max_model_len = 20,
                                .block_size = 8,
                                .num_blocks = 10,
                                .vocab_size = 100};

void ExpectInvalid(const absl::Status& status, const std::string& message) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(message));
}

class LanesTest : public testing::Test {
 protected:
  absl::Status Bind(uint32_t lane, std::vector<uint32_t> tokens, uint32_t length = 0) {
    return lanes_.Bind(lane, tokens, static_cast<uint32_t>(tokens.size()), length, sampling_);
  }
  const Lane& lane(int32_t index) const { return lanes_.lane(index); }

  Lanes lanes_{kLimits};
  LaneSampling sampling_{.params = {.temperature = 0.5f, .seed = 7}, .sequence_index = 3};
};

TEST_F(LanesTest, BindTakesTokensLengthAndSampling) {
  ASSERT_TRUE(Bind(2, {5, 0, 99}, 1).ok());
  EXPECT_THAT(lanes_.bound(), ElementsAre(2));
  EXPECT_THAT(lane(2).history, ElementsAre(5, 0, 99));
  EXPECT_EQ(lane(2).length, 1);
  EXPECT_THAT(lane(2).blocks, IsEmpty());
  EXPECT_EQ(lane(2).sampling.params.seed, 7u);
  EXPECT_EQ(lane(2).sampling.sequence_index, 3);
}

TEST_F(LanesTest, BoundLanesAreAscending) {
  for (uint32_t index : {3u, 0u, 2u}) ASSERT_TRUE(Bind(index, {1}).ok());
  EXPECT_THAT(lanes_.bound(), ElementsAre(0, 2, 3));
  ASSERT_TRUE(lanes_.Unbind(2).ok());
  EXPECT_THAT(lanes_.bound(), ElementsAre(0, 3));
}

TEST_F(LanesTest, BindRefusesWhatCannotBe) {
  ExpectInvalid(Bind(4, {1}), "lane 4: lanes are 0 to 3");
  ExpectInvalid(Bind(0xffffffff, {1}), "lane 4294967295");
  ExpectInvalid(Bind(0, {}), "0 tokens: 1 to 20");
  ExpectInvalid(Bind(0, std::vector<uint32_t>(21, 1)), "21 tokens: 1 to 20");
  ExpectInvalid(Bind(0, {1, 100}), "token 100: the vocabulary has 100");
  ExpectInvalid(Bind(0, {0xffffffff}), "token 4294967295");
  ExpectInvalid(Bind(0, {1, 2}, 2), "length 2 leaves none of 2 tokens");
  ExpectInvalid(lanes_.Bind(0, std::vector<uint32_t>{1}, 2, 0, {}), "2 prompt tokens of 1");
  EXPECT_THAT(lanes_.bound(), IsEmpty());
  ASSERT_TRUE(Bind(0, std::vector<uint32_t>(20, 99)).ok());
  ExpectInvalid(Bind(0, {1}), "lane 0 is bound already");
}

TEST_F(LanesTest, ABoundLaneStartsWithoutItsPredecessorsState) {
  ASSERT_TRUE(Bind(1, {1, 2, 3}).ok());
  ASSERT_TRUE(lanes_.Append(1, 4, 1).ok());
  lanes_.Advance(1, 3);
  lanes_.Learn(lanes_.Draw(1), 9);
  ASSERT_TRUE(lanes_.Unbind(1).ok());
  ASSERT_TRUE(Bind(1, {8}).ok());
  EXPECT_THAT(lane(1).history, ElementsAre(8));
  EXPECT_THAT(lane(1).blocks, IsEmpty());
  EXPECT_EQ(lane(1).length, 0);
}

TEST_F(LanesTest, AppendAddsARunOfBlocks) {
  ASSERT_TRUE(Bind(0, {1}).ok());
  ASSERT_TRUE(lanes_.Append(0, 7, 2).ok());
  ASSERT_TRUE(lanes_.Append(0, 1, 1).ok());
  EXPECT_THAT(lane(0).blocks, ElementsAre(7, 8, 1));
}

TEST_F(LanesTest, AppendRefusesBlocksThatAreNotThere) {
  ASSERT_TRUE(Bind(0, {1}).ok());
  ExpectInvalid(lanes_.Append(0, 0, 1), "block 0: blocks are 1 to 10");
  ExpectInvalid(lanes_.Append(0, 11, 1), "block 11: blocks are 1 to 10");
  ExpectInvalid(lanes_.Append(0, 9, 3), "3 blocks from 9");
  ExpectInvalid(lanes_.Append(0, 2, 0xffffffff), "4294967295 blocks from 2");
  ExpectInvalid(lanes_.Append(0, 2, 0), "0 blocks from 2");
  ExpectInvalid(lanes_.Append(1, 2, 1), "lane 1 is not bound");
  ExpectInvalid(lanes_.Append(9, 2, 1), "lane 9: lanes are 0 to 3");
  EXPECT_THAT(lane(0).blocks, IsEmpty());
}

TEST_F(LanesTest, ATableHoldsAtMostTheLongestSequence) {
  ASSERT_TRUE(Bind(0, {1}).ok());
  ASSERT_TRUE(lanes_.Append(0, 1, 3).ok());  // 20 tokens in blocks of 8
  ExpectInvalid(lanes_.Append(0, 4, 1), "a table of 4 blocks: 3 hold max_model_len");
}

TEST_F(LanesTest, SetReplacesOneEntry) {
  ASSERT_TRUE(Bind(0, {1}).ok());
  ASSERT_TRUE(lanes_.Append(0, 1, 2).ok());
  ASSERT_TRUE(lanes_.Set(0, 1, 10).ok());
  EXPECT_THAT(lane(0).blocks, ElementsAre(1, 10));
  ExpectInvalid(lanes_.Set(0, 2, 3), "entry 2 of a table of 2");
  ExpectInvalid(lanes_.Set(0, 0, 0), "block 0");
  ExpectInvalid(lanes_.Set(0, 0, 11), "block 11");
  ExpectInvalid(lanes_.Set(3, 0, 1), "lane 3 is not bound");
}

TEST_F(LanesTest, TruncateCutsHistoryLengthAndTable) {
  ASSERT_TRUE(Bind(0, std::vector<uint32_t>(18, 1)).ok());
  ASSERT_TRUE(lanes_.Append(0, 1, 3).ok());
  lanes_.Advance(0, 12);
  ASSERT_TRUE(lanes_.Truncate(0, 16).ok());
  EXPECT_EQ(lane(0).history.size(), 16u);
  EXPECT_EQ(lane(0).length, 12);
  EXPECT_THAT(lane(0).blocks, ElementsAre(1, 2));
  ASSERT_TRUE(lanes_.Truncate(0, 9).ok());
  EXPECT_EQ(lane(0).length, 9);
  EXPECT_THAT(lane(0).blocks, ElementsAre(1, 2));
  ASSERT_TRUE(lanes_.Truncate(0, 0).ok());
  EXPECT_THAT(lane(0).history, IsEmpty());
  EXPECT_THAT(lane(0).blocks, IsEmpty());
  ExpectInvalid(lanes_.Truncate(1, 4), "lane 1 is not bound");
}

TEST_F(LanesTest, TruncateBeyondTheEndChangesNothing) {
  ASSERT_TRUE(Bind(0, {1, 2, 3}).ok());
  ASSERT_TRUE(lanes_.Append(0, 1, 1).ok());
  ASSERT_TRUE(lanes_.Truncate(0, 0xffffffff).ok());
  EXPECT_THAT(lane(0).history, ElementsAre(1, 2, 3));
  EXPECT_THAT(lane(0).blocks, ElementsAre(1));
}

TEST_F(LanesTest, UnbindRefusesAFreeLane) {
  ExpectInvalid(lanes_.Unbind(0), "lane 0 is not bound");
  ASSERT_TRUE(Bind(0, {1}).ok());
  ASSERT_TRUE(lanes_.Unbind(0).ok());
  ExpectInvalid(lanes_.Unbind(0), "lane 0 is not bound");
}

TEST_F(LanesTest, ForkCopiesAllButTheSampling) {
  ASSERT_TRUE(Bind(3, {1, 2, 3}, 1).ok());
  ASSERT_TRUE(lanes_.Append(3, 5, 2).ok());
  LaneSampling other;
  other.sequence_index = 8;
  ASSERT_TRUE(lanes_.Fork(3, 0, other).ok());
  EXPECT_THAT(lanes_.bound(), ElementsAre(0, 3));
  EXPECT_THAT(lane(0).history, ElementsAre(1, 2, 3));
  EXPECT_THAT(lane(0).blocks, ElementsAre(5, 6));
  EXPECT_EQ(lane(0).length, 1);
  EXPECT_EQ(lane(0).sampling.sequence_index, 8);
  EXPECT_EQ(lane(0).follows, 3);
  EXPECT_EQ(lane(3).follows, Lane::kNobody);
  // From here on they are two.
  ASSERT_TRUE(lanes_.Set(0, 0, 9).ok());
  EXPECT_THAT(lane(3).blocks, ElementsAre(5, 6));
}

TEST_F(LanesTest, ForkRefusesABoundLaneAndAFreeSource) {
  ASSERT_TRUE(Bind(0, {1}).ok());
  ASSERT_TRUE(Bind(1, {1}).ok());
  ExpectInvalid(lanes_.Fork(0, 1, {}), "lane 1 is bound already");
  ExpectInvalid(lanes_.Fork(0, 0, {}), "lane 0 is bound already");
  ExpectInvalid(lanes_.Fork(2, 3, {}), "lane 2 is not bound");
  ExpectInvalid(lanes_.Fork(0, 4, {}), "lane 4: lanes are 0 to 3");
  ExpectInvalid(lanes_.Fork(4, 2, {}), "lane 4: lanes are 0 to 3");
}

TEST_F(LanesTest, AForkOfAForkFollowsTheFirstSource) {
  ASSERT_TRUE(Bind(0, {1}).ok());
  ASSERT_TRUE(lanes_.Fork(0, 1, {}).ok());
  ASSERT_TRUE(lanes_.Fork(1, 2, {}).ok());
  EXPECT_EQ(lane(2).follows, 0);
  lanes_.EndPlan();
  EXPECT_EQ(lane(1).follows, Lane::kNobody);
  EXPECT_EQ(lane(2).follows, Lane::kNobody);
}

TEST_F(LanesTest, AForkWhoseSourceLeavesStandsAlone) {
  ASSERT_TRUE(Bind(0, {1}).ok());
  ASSERT_TRUE(lanes_.Fork(0, 1, {}).ok());
  ASSERT_TRUE(lanes_.Unbind(0).ok());
  EXPECT_EQ(lane(1).follows, Lane::kNobody);
  ASSERT_TRUE(Bind(0, {2}).ok());
  EXPECT_EQ(lane(1).follows, Lane::kNobody);
}

TEST_F(LanesTest, RowsMoveTheLengthAndDrawsTheHistory) {
  ASSERT_TRUE(Bind(0, {1, 2}).ok());
  lanes_.Advance(0, 2);
  const PendingToken drawn = lanes_.Draw(0);
  EXPECT_EQ(lane(0).length, 2);
  EXPECT_THAT(lane(0).history, ElementsAre(1, 2, Lane::kUnknown));
  lanes_.Learn(drawn, 42);
  EXPECT_THAT(lane(0).history, ElementsAre(1, 2, 42));
}

TEST_F(LanesTest, ATokenComesToNobodyElseThanWhoDrewIt) {
  ASSERT_TRUE(Bind(0, {1, 2}).ok());
  const PendingToken cut = lanes_.Draw(0);
  ASSERT_TRUE(lanes_.Truncate(0, 2).ok());
  lanes_.Learn(cut, 42);
  EXPECT_THAT(lane(0).history, ElementsAre(1, 2));
  const PendingToken unbound = lanes_.Draw(0);
  ASSERT_TRUE(lanes_.Unbind(0).ok());
  lanes_.Learn(unbound, 42);
  ASSERT_TRUE(Bind(0, {3, 4, 5, 6}).ok());
  lanes_.Learn(unbound, 42);
  EXPECT_THAT(lane(0).history, ElementsAre(3, 4, 5, 6));
}

TEST_F(LanesTest, WhatTheDeviceHasOfATableEndsWhereTheTableChanges) {
  ASSERT_TRUE(Bind(0, {1}).ok());
  ASSERT_TRUE(lanes_.Append(0, 1, 2).ok());
  EXPECT_EQ(lane(0).blocks_sent, 0);
  lanes_.SentTable(0);
  EXPECT_EQ(lane(0).blocks_sent, 2);
  ASSERT_TRUE(lanes_.Append(0, 4, 1).ok());
  EXPECT_EQ(lane(0).blocks_sent, 2);
  ASSERT_TRUE(lanes_.Set(0, 1, 5).ok());
  EXPECT_EQ(lane(0).blocks_sent, 1);
  ASSERT_TRUE(lanes_.Fork(0, 1, {}).ok());
  EXPECT_EQ(lane(1).blocks_sent, 0);
  lanes_.SentTable(0);
  ASSERT_TRUE(lanes_.Truncate(0, 1).ok());
  EXPECT_EQ(lane(0).blocks_sent, 1);
  ASSERT_TRUE(lanes_.Unbind(0).ok());
  ASSERT_TRUE(Bind(0, {1}).ok());
  EXPECT_EQ(lane(0).blocks_sent, 0);
}

// The definition in worker.proto, written out.
TEST_F(LanesTest, DigestHashesLanesTablesInOrder) {
  EXPECT_EQ(lanes_.Digest(), 0u);
  ASSERT_TRUE(Bind(3, {1}).ok());
  ASSERT_TRUE(Bind(1, {1}).ok());
  ASSERT_TRUE(lanes_.Append(3, 2, 2).ok());
  const char first[] = {1, 0, 0, 0, 0, 0, 0, 0};
  const char second[] = {3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0};
  const uint64_t expected = Hash64({second, sizeof(second)}, Hash64({first, sizeof(first)}, 0));
  EXPECT_EQ(lanes_.Digest(), expected);
  ASSERT_TRUE(lanes_.Set(3, 0, 3).ok());
  ASSERT_TRUE(lanes_.Set(3, 1, 2).ok());
  EXPECT_NE(lanes_.Digest(), expected) << "the order of blocks counts";
}

}  // namespace
}  // namespace pagoda
