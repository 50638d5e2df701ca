#include "worker/model/sharding.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/model/model_files.h"
#include "worker/model/model_config.h"

namespace pagoda {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// [begin, end) of each rank.
std::vector<std::pair<int64_t, int64_t>> Ranges(TensorShare (*share)(int64_t, const ShardSpec&),
                                                int64_t extent,
                                                int size) {
  std::vector<std::pair<int64_t, int64_t>> ranges;
  for (int rank = 0; rank < size; ++rank) {
    const TensorShare mine = share(extent, {rank, size});
    ranges.emplace_back(mine.begin(), mine.end());
  }
  return ranges;
}

TEST(TensorShareTest, OutputsAreDividedByWholeUnits) {
  const TensorShare half = ShareOutputs(24, 4, {.rank = 1, .size = 2});  // 4 heads of 6
  EXPECT_EQ(half.begin(), 12);
  EXPECT_EQ(half.end(), 24);
  EXPECT_EQ(half.pieces, 4);
  EXPECT_FALSE(half.repeated);
  EXPECT_EQ(ShareOutputs(24, 4, {}).size(), 24);
}

TEST(TensorShareTest, NeighbouringRanksShareAKvHeadWhereThereAreTooFew) {
  for (const int rank : {0, 1, 2, 3}) {
    const TensorShare share = ShareOutputs(4, 2, {.rank = rank, .size = 4});  // 2 heads of 2
    EXPECT_EQ(share.begin(), rank / 2 * 2);
    EXPECT_EQ(share.size(), 2);
    EXPECT_EQ(share.repeated, rank % 2 == 1);
  }
  EXPECT_EQ(ShardUnits(2, {.rank = 0, .size = 4}), 1);
  EXPECT_EQ(ShardUnits(8, {.rank = 0, .size = 4}), 2);
}

TEST(TensorShareTest, WhatIsNotDividedCountsOnTheFirstRank) {
  for (const int rank : {0, 1}) {
    const TensorShare share = ShareWhole(7, {.rank = rank, .size = 2});
    EXPECT_TRUE(share.whole());
    EXPECT_EQ(share.size(), 7);
    EXPECT_EQ(share.repeated, rank == 1);
  }
}

TEST(TensorShareTest, InputsAreDividedByKSlices) {
  const TensorShare share = ShareInputs(256, {.rank = 3, .size = 4});
  EXPECT_EQ(share.axis, TensorShare::Axis::kInputs);
  EXPECT_EQ(share.pieces, 8);
  EXPECT_EQ(share.begin(), 192);
  EXPECT_EQ(share.end(), 256);
}

TEST(TensorShareTest, TheVocabularyIsDividedByEighthsRoundedUp) {
  EXPECT_THAT(Ranges(ShareVocabulary, 2029, 2),
              ElementsAre(std::pair(0, 1016), std::pair(1016, 2029)));
  EXPECT_EQ(Ranges(ShareVocabulary, 2029, 8).back(), std::pair(int64_t{1778}, int64_t{2029}));
  for (int64_t size = 64; size < 600; ++size) {
    EXPECT_GT(ShareVocabulary(size, {.rank = 7, .size = 8}).size(), 0) << size;
  }
}

// What makes hashes of pieces independent of the number of ranks.
TEST(TensorShareTest, EveryPieceCountsOnceWhateverTheNumberOfRanks) {
  for (const int size : {1, 2, 4, 8}) {
    for (const int64_t units : {1, 2, 4, 8, 16, 24}) {
      std::vector<int> counted(ShareOutputs(units * 3, units, {}).pieces);
      for (int rank = 0; rank < size; ++rank) {
        const TensorShare share = ShareOutputs(units * 3, units, {rank, size});
        ASSERT_EQ(share.pieces, static_cast<int64_t>(counted.size()));
        for (int64_t i = share.first; i < share.first + share.count; ++i) {
          counted[i] += !share.repeated;
        }
      }
      EXPECT_THAT(counted, ::testing::Each(1)) << units << " units, " << size << " ranks";
    }
  }
}

TEST(KSlicesTest, IsTheLargestPowerOfTwoUpToEightWithWholeSteps) {
  EXPECT_EQ(KSlices(4096), 8);
  EXPECT_EQ(KSlices(256), 8);
  EXPECT_EQ(KSlices(128 * 3), 4);
  EXPECT_EQ(KSlices(64), 2);
  EXPECT_EQ(KSlices(96), 1);
  EXPECT_EQ(KSlices(88), 1);
}

TEST(CheckShardableTest, RefusesWhatWouldChangeTheBitsAndNamesWhatWorks) {
  auto config = ParseModelConfig(testing::ShardableConfig(), "");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(ValidGroupSizes(*config), ElementsAre(1, 2, 4));
  const auto error = [&](ShardSpec shard) {
    const absl::Status status = CheckShardable(*config, shard);
    EXPECT_EQ(status.ok() ? absl::StatusCode::kInvalidArgument : status.code(),
              absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_EQ(error({3, 4}), "");  // 2 KV heads, each on two ranks
  EXPECT_THAT(error({0, 3}), HasSubstr("a group has 1, 2, 4 or 8 ranks; sizes that work: 1, 2, 4"));
  EXPECT_THAT(error({0, 0}), HasSubstr("a group has 1, 2, 4 or 8 ranks"));
  EXPECT_THAT(error({0, 16}), HasSubstr("a group has 1, 2, 4 or 8 ranks"));
  EXPECT_THAT(error({2, 2}), HasSubstr("rank 2 of 2"));
  EXPECT_THAT(error({-1, 2}), HasSubstr("rank -1 of 2"));
  EXPECT_EQ(error({0, 8}),
            "the model cannot be divided between 8 ranks: the model has 4 attention heads; sizes "
            "that work: 1, 2, 4");
  config->intermediate_size = 64;
  EXPECT_THAT(error({0, 4}), HasSubstr("a linear of 64 inputs has 2 K-slices"));
  config->intermediate_size = 128;
  config->num_heads = 6;
  config->num_kv_heads = 3;
  EXPECT_THAT(error({0, 2}), HasSubstr("the model has 3 KV heads; sizes that work: 1"));
  config->vocab_size = 63;
  config->num_kv_heads = 2;
  EXPECT_THAT(error({0, 2}), HasSubstr("the vocabulary has 63 tokens"));
  EXPECT_EQ(error({0, 1}), "");
}

}  // namespace
}  // namespace pagoda
