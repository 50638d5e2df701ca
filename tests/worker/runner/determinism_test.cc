// Outputs depend on their own request alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "tests/testing/open_epoch.h"
#include "tests/testing/plan_driver.h"
#include "tests/worker/runner/runner_fixture.h"

namespace pagoda {
namespace {

using testing::Greedy;
using testing::PlanDriver;

using DeterminismTest = RunnerTest;

TEST_F(DeterminismTest, OutputsDependOnNothingElseInTheBatch) {
  const std::vector<Output> batch = Generate(Config(), 64, 0, 10);
  for (size_t i = 0; i < batch.size(); ++i) {
    EXPECT_EQ(batch[i].tokens.size(), 24u);
    EXPECT_EQ(Generate(Config(), 64, i, 1)[0], batch[i]) << "sequence " << i;
  }
}

TEST_F(DeterminismTest, OutputsDependOnNoChunkingOrBlockSize) {
  const std::vector<Output> expected = Generate(Config(), 64, 0, 10);
  for (uint32_t chunk : {1u, 7u, 16u}) {
    EXPECT_EQ(Generate(Config(), chunk, 0, 10), expected) << "chunks of " << chunk;
  }
  for (uint32_t block_size : {8u, 32u, 128u}) {
    v1::ConfigureRequest config = Config();
    config.set_block_size(block_size);
    EXPECT_EQ(Generate(config, 33, 0, 10), expected) << "blocks of " << block_size;
  }
}

TEST_F(DeterminismTest, SeedsMatterAndGreedyHasNone) {
  const auto tokens = [&](const v1::SamplingParams& sampling) {
    EXPECT_TRUE(testing::OpenEpoch(*runner_, Config()).ok());
    PlanDriver driver(Config(), 64);
    driver.Add(Prompt(1, 20), sampling, 24);
    EXPECT_TRUE(driver
                    .Run([&](const v1::Plan& plan, v1::StepResult* result) {
                      return runner_->Step(plan, result);
                    })
                    .ok());
    return driver.sequence(0).drawn;
  };
  EXPECT_NE(tokens(Random(1)), tokens(Random(2)));
  v1::SamplingParams other = Random(1);
  other.set_sequence_index(1);
  EXPECT_NE(tokens(Random(1)), tokens(other));
  v1::SamplingParams greedy = Greedy();
  greedy.set_seed(5);
  EXPECT_EQ(tokens(Greedy()), tokens(greedy));
}

TEST_F(DeterminismTest, NaNInUnusedBlocksReachesNobody) {
  const std::vector<Output> expected = Generate(Config(), 7, 0, 6);
  ASSERT_TRUE(testing::OpenEpoch(*runner_, Config()).ok());
  KvPool& pool = runner_->pool();
  for (int32_t block = 0; block < pool.num_blocks(); ++block) {
    std::memset(pool.block(block), 0xff, pool.layout().BlockBytes());
  }
  PlanDriver driver(Config(), 7);
  for (uint32_t i = 0; i < 6; ++i) {
    driver.Add(Prompt(i, 3 + i * 10), i % 2 == 0 ? Greedy() : Random(i), 24);
  }
  ASSERT_TRUE(driver
                  .Run([&](const v1::Plan& plan, v1::StepResult* result) {
                    return runner_->Step(plan, result);
                  })
                  .ok());
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(driver.sequence(i).drawn, expected[i].tokens);
}

}  // namespace
}  // namespace pagoda
