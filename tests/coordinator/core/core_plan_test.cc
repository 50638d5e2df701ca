// What a Tick plans, what an answer shows, and the numbers of stats().
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/coordinator/core/core_harness.h"

namespace pagoda::core {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(CorePlanTest, WhatArrivedTogetherIsPlannedTogether) {
  CoreHarness harness({.depth = 1});
  harness.Open();
  EXPECT_THAT(harness.Submit(1, 1, 2), ElementsAre("append 1 accept 1", "emit 1 0"));
  harness.Submit(2, 1, 2);
  EXPECT_THAT(harness.Tick(),
              ElementsAre("plan 1s: bind 0 [1]; append 0 1; bind 1 [2]; append 1 2"));
}

TEST(CorePlanTest, PlansAreMadeByTicksOnly) {
  CoreHarness harness({.depth = 1});
  harness.Open();
  harness.Submit(1, 1, 3);
  harness.Tick();
  EXPECT_THAT(harness.Answer(), ElementsAre("emit 1 1"));
  EXPECT_THAT(harness.Tick(), ElementsAre("plan 2:"));
  EXPECT_THAT(harness.Tick(), IsEmpty()) << "depth 1";
}

TEST(CorePlanTest, TimeDoesNotRunBackwards) {
  CoreHarness harness;
  harness.Open();
  RequestSpec spec = harness.Request(1, 1, 9);
  spec.deadline = absl::UnixEpoch() + absl::Seconds(10);
  harness.Apply(Tick{absl::UnixEpoch() + absl::Seconds(9)});
  harness.Apply(Tick{absl::UnixEpoch()});
  harness.Submit(std::move(spec));
  harness.Apply(Tick{absl::UnixEpoch() + absl::Seconds(10)});
  ASSERT_NE(harness.ended(1), nullptr);
}

TEST(CorePlanTest, NumbersOfTheMoment) {
  CoreHarness harness({.depth = 1});
  harness.Open({.num_blocks = 8,
                .block_size = 2,
                .max_lanes = 1,
                .max_step_tokens = 8,
                .max_model_len = 32});
  harness.Submit(1, 3, 2);
  harness.Submit(2, 1, 1);
  EXPECT_EQ(harness.stats().waiting, 2u);
  harness.Tick();
  CoreStats stats = harness.stats();
  EXPECT_EQ(stats.running, 1u);
  EXPECT_EQ(stats.waiting, 1u);
  EXPECT_EQ(stats.free_blocks, 6u);
  EXPECT_EQ(stats.steps, 0u);
  harness.Run();
  stats = harness.stats();
  EXPECT_EQ(stats.running + stats.waiting, 0u);
  EXPECT_EQ(stats.free_blocks, 8u);
  EXPECT_EQ(stats.processed_tokens, 3u + 1 + 1);
  EXPECT_EQ(stats.generated_tokens, 3u);
  EXPECT_EQ(stats.finished_requests, 2u);
  EXPECT_EQ(stats.preemptions, 0u);
}

TEST(CorePlanTest, EveryPoolAndBudgetFromOneUpServes) {
  for (uint32_t depth : {1, 2, 3}) {
    for (uint32_t budget : {1, 2, 5}) {
      for (uint32_t blocks : {1, 2, 7}) {
        CoreHarness harness({.depth = depth});
        harness.Open({.num_blocks = blocks,
                      .block_size = 8,
                      .max_lanes = 3,
                      .max_step_tokens = budget,
                      .max_model_len = 32});
        for (uint64_t id = 1; id <= 5; ++id) harness.Submit(id, 3, 5);
        harness.Run();
        for (uint64_t id = 1; id <= 5; ++id) {
          const int32_t base = static_cast<int32_t>(100 * id);
          EXPECT_THAT(harness.Tokens(id),
                      ElementsAre(base + 1, base + 2, base + 3, base + 4, base + 5));
        }
        EXPECT_EQ(harness.stats().free_blocks, blocks);
      }
    }
  }
}

}  // namespace
}  // namespace pagoda::core
