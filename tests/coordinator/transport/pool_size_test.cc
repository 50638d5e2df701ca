#include "coordinator/transport/pool_size.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pagoda {
namespace {

using ::testing::HasSubstr;

PoolLimits Limits() {
  return {.max_position_embeddings = 1024, .kv_bytes_per_token = 100, .pool_memory_bytes = 1 << 30};
}

TEST(SizePoolTest, DefaultIsWhatAllSequencesCanNeedTogether) {
  const auto capacity = SizePool({.max_num_seqs = 4}, Limits());
  ASSERT_TRUE(capacity.ok()) << capacity.status();
  EXPECT_EQ(capacity->num_blocks, 4u * 1024 / 16);
  EXPECT_EQ(capacity->max_model_len, 1024u);
  EXPECT_EQ(capacity->max_lanes, 4u);
}

TEST(SizePoolTest, DefaultTakesAtMostThePoolsMemory) {
  PoolLimits limits = Limits();
  limits.pool_memory_bytes = 16 * 100 * 10 + 1;
  EXPECT_EQ(SizePool({}, limits)->num_blocks, 10u);
}

TEST(SizePoolTest, MemoryFlagIsFloorOfBlocks) {
  EXPECT_EQ(SizePool({.kv_cache_memory_bytes = 16 * 100 * 3 + 1}, Limits())->num_blocks, 3u);
}

TEST(SizePoolTest, OverrideWinsOverMemory) {
  EXPECT_EQ(
      SizePool({.num_blocks_override = 1, .kv_cache_memory_bytes = 1 << 20}, Limits())->num_blocks,
      1u);
}

TEST(SizePoolTest, RunningSetIsCappedToTheTokenBudget) {
  const auto capacity = SizePool({.max_num_seqs = 256, .max_num_batched_tokens = 1}, Limits());
  ASSERT_TRUE(capacity.ok());
  EXPECT_EQ(capacity->max_lanes, 1u);
  EXPECT_EQ(capacity->max_step_tokens, 1u);
}

TEST(SizePoolTest, RefusalsNameTheLimit) {
  const auto message = [](PoolFlags flags) {
    return std::string(SizePool(flags, Limits()).status().message());
  };
  EXPECT_THAT(message({.block_size = 12}), HasSubstr("8, 16, 32, 64 or 128"));
  EXPECT_THAT(message({.block_size = 256}), HasSubstr("256"));
  EXPECT_THAT(message({.max_model_len = 2048}), HasSubstr("1024"));
  EXPECT_THAT(message({.max_num_seqs = 0}), HasSubstr("at least 1"));
  const auto status = SizePool({.kv_cache_memory_bytes = 10}, Limits()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("1600"));
}

}  // namespace
}  // namespace pagoda
