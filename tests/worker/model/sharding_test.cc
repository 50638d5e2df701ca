#include "worker/model/sharding.h"

#include <numeric>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/model/fake_backend.h"
#include "tests/worker/model/model_files.h"
#include "worker/model/model_config.h"

namespace pagoda {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<float> Values(const HostTensor& tensor) {
  std::vector<float> values;
  testing::AppendValues(tensor, &values);
  return values;
}

// 0, 1, 2, … as [rows, cols].
class ShardingTest : public ::testing::Test {
 protected:
  HostTensor Matrix(int64_t rows, int64_t cols) {
    data_.resize(rows * cols);
    std::iota(data_.begin(), data_.end(), 0.0f);
    return {data_.data(), DType::kF32, rows, cols, cols};
  }
  std::vector<float> data_;
};

TEST_F(ShardingTest, OutputsAreDividedByWholeHeads) {
  const HostTensor whole = Matrix(8, 2);  // 4 heads of 2
  EXPECT_THAT(Values(ShardOutputs(whole, 4, {.rank = 0, .size = 2})),
              ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_THAT(Values(ShardOutputs(whole, 4, {.rank = 3, .size = 4})), ElementsAre(12, 13, 14, 15));
  EXPECT_EQ(Values(ShardOutputs(whole, 4, {})), data_);
}

TEST_F(ShardingTest, NeighbouringRanksShareAKvHeadWhereThereAreTooFew) {
  const HostTensor whole = Matrix(4, 1);  // 2 heads of 2
  for (const int rank : {0, 1}) {
    EXPECT_THAT(Values(ShardOutputs(whole, 2, {.rank = rank, .size = 4})), ElementsAre(0, 1));
    EXPECT_THAT(Values(ShardOutputs(whole, 2, {.rank = rank + 2, .size = 4})), ElementsAre(2, 3));
  }
  EXPECT_EQ(ShardUnits(2, {.rank = 0, .size = 4}), 1);
  EXPECT_EQ(ShardUnits(8, {.rank = 0, .size = 4}), 2);
}

TEST_F(ShardingTest, BiasesAreDividedLikeTheirOutputs) {
  EXPECT_THAT(Values(ShardOutputs(Matrix(1, 8), 4, {.rank = 1, .size = 2})),
              ElementsAre(4, 5, 6, 7));
}

TEST_F(ShardingTest, InputsAreDividedByColumnsWithoutCopying) {
  const HostTensor whole = Matrix(2, 4);
  const HostTensor slice = ShardInputs(whole, {.rank = 1, .size = 2});
  EXPECT_THAT(Values(slice), ElementsAre(2, 3, 6, 7));
  EXPECT_EQ(slice.row_stride, 4);
  EXPECT_EQ(slice.data, data_.data() + 2);
}

TEST_F(ShardingTest, TheRanksTogetherHoldEachElementOnce) {
  const HostTensor whole = Matrix(16, 8);
  for (const int size : {1, 2, 4, 8}) {
    float rows = 0, cols = 0;
    for (int rank = 0; rank < size; ++rank) {
      for (const float v : Values(ShardOutputs(whole, 8, {rank, size}))) rows += v;
      for (const float v : Values(ShardInputs(whole, {rank, size}))) cols += v;
    }
    EXPECT_EQ(rows, 127 * 64);
    EXPECT_EQ(cols, 127 * 64);
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

TEST(CheckShardableTest, RefusesWhatWouldChangeTheBits) {
  auto config = ParseModelConfig(testing::TinyConfig(false), "");
  ASSERT_TRUE(config.ok());
  EXPECT_TRUE(CheckShardable(*config, {}).ok());
  const auto error = [&](ShardSpec shard) {
    return std::string(CheckShardable(*config, shard).message());
  };
  EXPECT_THAT(error({0, 3}), HasSubstr("power of two"));
  EXPECT_THAT(error({2, 2}), HasSubstr("rank 2 of 2"));
  EXPECT_THAT(error({0, 8}), HasSubstr("4 attention heads"));
  EXPECT_THAT(error({0, 2}), HasSubstr("1 K-slices of a linear with 32 inputs"));
  config->head_dim = 128;
  config->intermediate_size = 1024;
  EXPECT_TRUE(CheckShardable(*config, {1, 2}).ok());
  EXPECT_TRUE(CheckShardable(*config, {3, 4}).ok());  // 2 KV heads, each on two ranks
  config->mlp_bias = true;
  EXPECT_EQ(CheckShardable(*config, {1, 2}).code(), absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace pagoda
