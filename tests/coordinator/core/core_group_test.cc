// Groups: joining, losing, wrong answers, deadlines, several groups.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/coordinator/core/core_harness.h"

namespace pagoda::core {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr GroupCapacity kSmall = {.num_blocks = 2,
                                  .block_size = 2,
                                  .max_lanes = 4,
                                  .max_step_tokens = 8,
                                  .max_model_len = 32};

TEST(CoreGroupTest, JoiningOpensAnEpochAndItsAnswerMakesTheGroupReady) {
  CoreHarness harness;
  EXPECT_THAT(harness.Join(), ElementsAre("open epoch 1: 8 blocks of 2"));
  EXPECT_FALSE(harness.stats().ready);
  harness.Submit(1, 2, 1);
  EXPECT_THAT(harness.Tick(), IsEmpty()) << "accepted, but not planned before the group is open";
  harness.Answer();
  EXPECT_TRUE(harness.stats().ready);
  EXPECT_EQ(harness.stats().epochs, 1u);
  EXPECT_EQ(harness.stats().total_blocks, 8u);
  EXPECT_THAT(harness.Tick(), Contains(StartsWith("plan 1s: bind 0 [1 1]")));
}

TEST(CoreGroupTest, EpochsAreAboveWhatTheWorkersServedBefore) {
  CoreHarness harness;
  EXPECT_THAT(harness.Apply(GroupJoined{.group = GroupId(0),
                                        .capacity = CoreHarness::Capacity(),
                                        .last_epoch = Epoch(7)}),
              ElementsAre("open epoch 8: 8 blocks of 2"));
}

TEST(CoreGroupTest, ALostGroupsRequestsContinueWhereTheyWere) {
  CoreHarness harness;
  harness.Open();
  harness.Submit(1, 2, 4);
  harness.Tick();
  harness.Answer();
  EXPECT_THAT(harness.Lose(), IsEmpty());
  EXPECT_FALSE(harness.stats().ready);
  EXPECT_EQ(harness.stats().running, 0u);
  EXPECT_EQ(harness.stats().waiting, 1u);
  EXPECT_EQ(harness.stats().free_blocks, 8u);
  harness.Open();
  EXPECT_THAT(harness.Tick(), Contains("plan 1s: bind 0 [1 1 | 101]; append 0 1-2; chunk 0 3"));
  harness.Run();
  EXPECT_THAT(harness.Tokens(1), ElementsAre(101, 102, 103, 104));
  EXPECT_TRUE(harness.ended(1)->status.ok());
}

TEST(CoreGroupTest, RequestsAreAcceptedWhileTheGroupIsAway) {
  CoreHarness harness;
  harness.Open();
  harness.Lose();
  harness.Submit(1, 2, 2);
  EXPECT_EQ(harness.ended(1), nullptr);
  harness.Open();
  harness.Run();
  EXPECT_TRUE(harness.ended(1)->status.ok());
}

TEST(CoreGroupTest, ASmallerPoolEndsWhatItCanNeverHold) {
  CoreHarness harness;
  harness.Open();
  harness.Submit(1, 5, 4);
  harness.Submit(2, 2, 2);
  harness.Lose();
  harness.Join(kSmall);
  EXPECT_EQ(harness.ended(1), nullptr);
  harness.Answer();
  ASSERT_NE(harness.ended(1), nullptr);
  EXPECT_TRUE(absl::IsInternal(harness.ended(1)->status));
  EXPECT_THAT(std::string(harness.ended(1)->status.message()), HasSubstr("KV pool of 2 blocks"));
  harness.Run();
  EXPECT_TRUE(harness.ended(2)->status.ok());
  EXPECT_EQ(harness.stats().total_blocks, 2u);
}

TEST(CoreGroupTest, EventsOfAnotherEpochAreIgnored) {
  CoreHarness harness;
  harness.Open();
  harness.Submit(1, 2, 9);
  harness.Tick();
  const StepDone stale = harness.answers().front();
  harness.Lose();
  EXPECT_THAT(harness.Apply(stale), IsEmpty()) << "the group is away";
  harness.Open();
  harness.Tick();
  EXPECT_THAT(harness.Apply(stale), IsEmpty());
  EXPECT_THAT(harness.Apply(GroupLost{.group = GroupId(0), .epoch = Epoch(1), .reason = "late"}),
              IsEmpty());
  EXPECT_TRUE(harness.stats().ready) << "epoch 2 is open";
  EXPECT_EQ(harness.log(1).size(), 0u);
  EXPECT_THAT(harness.Apply(StepDone{.group = GroupId(5), .epoch = Epoch(1)}), IsEmpty());
  EXPECT_THAT(harness.Apply(GroupLost{.group = GroupId(5), .epoch = Epoch(1)}), IsEmpty());
}

TEST(CoreGroupTest, AGroupThatJoinsAgainDropsItsEpoch) {
  CoreHarness harness;
  harness.Open();
  EXPECT_THAT(harness.Join(),
              ElementsAre("drop epoch 1: the group joined again", "open epoch 2: 8 blocks of 2"));
}

// A wrong answer to step 1 of epoch 1; the request must still end with the right tokens.
class WrongAnswerTest : public ::testing::Test {
 protected:
  WrongAnswerTest() : harness_({.digest_interval = 1}) {
    harness_.Open();
    harness_.Submit(1, 2, 3);
    harness_.Tick();
  }
  ~WrongAnswerTest() override {
    EXPECT_FALSE(harness_.stats().ready);
    EXPECT_EQ(harness_.log(1).size(), 0u) << "nothing of a wrong answer is shown";
    EXPECT_THAT(harness_.Tick(), IsEmpty());
    harness_.Open();
    harness_.Run();
    EXPECT_THAT(harness_.Tokens(1), ElementsAre(101, 102, 103));
  }
  StepDone& answer() { return harness_.answers().front(); }
  CoreHarness harness_;
};

TEST_F(WrongAnswerTest, TooManyTokens) {
  answer().tokens.push_back(1);
  EXPECT_THAT(harness_.Answer(),
              ElementsAre("drop epoch 1: step 1 was to draw 1 tokens, the answer has 2"));
}

TEST_F(WrongAnswerTest, TooFewTokens) {
  answer().tokens.clear();
  EXPECT_THAT(harness_.Answer(), ElementsAre(HasSubstr("the answer has 0")));
}

TEST_F(WrongAnswerTest, LogprobsForOtherThanItsTokens) {
  answer().logprobs.resize(2);
  EXPECT_THAT(harness_.Answer(), ElementsAre(StartsWith("drop epoch 1")));
}

TEST_F(WrongAnswerTest, AnotherTableDigest) {
  answer().table_digest ^= 1;
  EXPECT_THAT(harness_.Answer(),
              ElementsAre("drop epoch 1: block tables differ from the worker's at step 1"));
}

TEST_F(WrongAnswerTest, AnotherStep) {
  answer().step = Step(2);
  EXPECT_THAT(harness_.Answer(), ElementsAre("drop epoch 1: answer to step 2, expected 1"));
}

TEST(CoreGroupTest, AnAnswerThatNobodyAskedForDropsTheEpoch) {
  CoreHarness harness;
  harness.Open();
  EXPECT_THAT(harness.Apply(StepDone{.group = GroupId(0), .epoch = Epoch(1), .step = Step(1)}),
              ElementsAre("drop epoch 1: answer to step 1, but no step is unanswered"));
}

TEST(CoreGroupTest, DigestsAreAskedForAtTheInterval) {
  CoreHarness harness({.depth = 1, .digest_interval = 3});
  harness.Open();
  harness.Submit(1, 1, 7);
  for (int step = 1; step <= 7; ++step) {
    const std::vector<std::string> actions = harness.Tick();
    ASSERT_EQ(actions.size(), 1u);
    EXPECT_EQ(actions[0].find("d:") != std::string::npos, step % 3 == 0) << actions[0];
    harness.Answer();
  }
}

TEST(CoreGroupTest, AHangingStepDropsTheEpochAtItsDeadline) {
  CoreHarness harness({.step_timeout = absl::Seconds(3), .uncalibrated_timeout = absl::Seconds(9)});
  harness.Open();
  harness.Submit(1, 1, 9);
  harness.Tick();
  EXPECT_EQ(harness.core().NextDeadline(), harness.now() + absl::Seconds(9)) << "unknown speed";
  harness.Answer();
  harness.Tick();
  EXPECT_EQ(harness.core().NextDeadline(), harness.now() + absl::Seconds(9))
      << "step 2 was sent before the speed was known";
  harness.Answer();
  harness.Tick();
  EXPECT_EQ(harness.core().NextDeadline(), harness.now() + absl::Seconds(3));
  EXPECT_THAT(harness.Tick(absl::Milliseconds(2999)), IsEmpty());
  EXPECT_THAT(harness.Tick(absl::Milliseconds(1)),
              ElementsAre("drop epoch 1: a step was not answered in time"));
  EXPECT_EQ(harness.core().NextDeadline(), absl::InfiniteFuture());
}

TEST(CoreGroupTest, ASlowGroupGetsTenTimesThePrediction) {
  CoreHarness harness({.depth = 1, .step_timeout = absl::Seconds(3)});
  harness.Open();
  harness.Submit(1, 1, 9);
  harness.Tick();
  harness.answers().front().busy = absl::Seconds(2);  // for one token
  harness.Answer();
  harness.Tick();
  EXPECT_EQ(harness.core().NextDeadline(), harness.now() + absl::Seconds(20));
}

TEST(CoreGroupTest, AnOpeningThatHangsIsDropped) {
  CoreHarness harness({.open_timeout = absl::Seconds(60)});
  harness.Join();
  harness.Tick();
  EXPECT_THAT(harness.Tick(absl::Seconds(60)), ElementsAre(StartsWith("drop epoch 1")));
}

TEST(CoreGroupTest, TheLeastLoadedOpenGroupServes) {
  CoreHarness harness;
  harness.Open(CoreHarness::Capacity(), GroupId(0));
  harness.Open(CoreHarness::Capacity(), GroupId(1));
  for (uint64_t id : {1, 2, 3}) harness.Submit(id, 1, 2);
  EXPECT_THAT(harness.Tick(),
              ElementsAre("plan 1s: bind 0 [1]; append 0 1; bind 1 [3]; append 1 2",
                          "plan 2:",
                          "group 1 plan 1s: bind 0 [2]; append 0 1",
                          "group 1 plan 2:"));
  harness.Run();
  for (uint64_t id : {1, 2, 3}) EXPECT_TRUE(harness.ended(id)->status.ok());
}

TEST(CoreGroupTest, AGroupThatCannotHoldARequestDoesNotGetIt) {
  CoreHarness harness;
  harness.Open(kSmall, GroupId(0));
  harness.Open(CoreHarness::Capacity(), GroupId(1));
  harness.Submit(1, 5, 4);
  harness.Run();
  ASSERT_NE(harness.ended(1), nullptr) << "it would wait for ever in the small group";
  EXPECT_EQ(harness.Tokens(1).size(), 4u);
}

TEST(CoreGroupTest, ALostGroupLeavesTheOtherAlone) {
  CoreHarness harness;
  harness.Open(CoreHarness::Capacity(), GroupId(0));
  harness.Open(CoreHarness::Capacity(), GroupId(1));
  harness.Submit(1, 1, 3);
  harness.Submit(2, 1, 3);
  harness.Tick();
  harness.Lose(GroupId(0));
  EXPECT_TRUE(harness.stats().ready);
  harness.Run();
  EXPECT_EQ(harness.ended(1), nullptr);
  EXPECT_THAT(harness.Tokens(2), ElementsAre(201, 202, 203));
}

}  // namespace
}  // namespace pagoda::core
