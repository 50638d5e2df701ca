// Admission, chunked prefill, the token budget, steady decode, endings.
#include "coordinator/core/scheduler/group_scheduler.h"

#include <gtest/gtest.h>

#include "common/hash.h"
#include "tests/coordinator/core/scheduler/scheduler_fixture.h"

namespace pagoda::core {
namespace {

constexpr GroupCapacity kRoomy = {.num_blocks = 100,
                                  .block_size = 4,
                                  .max_lanes = 8,
                                  .max_step_tokens = 16,
                                  .max_model_len = 100};

TEST_F(GroupSchedulerTest, NothingToDoIsNoPlan) {
  Make(kRoomy);
  EXPECT_EQ(Plan(), "nothing");
  EXPECT_TRUE(scheduler().CanPlan()) << "a plan that was not sent is not unanswered";
}

TEST_F(GroupSchedulerTest, FirstPlanIsTheSnapshotAndSteadyDecodeNamesNobody) {
  Make(kRoomy);
  Add(3, 5);
  EXPECT_EQ(Plan(), "1s: bind 0 [1 1 1]; append 0 1; chunk 0 3");
  EXPECT_EQ(Answer(), std::vector<uint64_t>{1});
  EXPECT_EQ(Plan(), "2:");
  EXPECT_EQ(Answer(), std::vector<uint64_t>{1});
  EXPECT_EQ(Plan(), "3: append 0 2") << "the fourth token is written, the fifth needs a block";
}

TEST_F(GroupSchedulerTest, APromptOfOneTokenNeedsNoException) {
  Make(kRoomy);
  Add(1, 2);
  EXPECT_EQ(Plan(), "1s: bind 0 [1]; append 0 1");
}

TEST_F(GroupSchedulerTest, ALongPromptIsCutIntoChunksAndDrawsWithItsLast) {
  Make(kRoomy);
  Add(40, 2);
  EXPECT_TRUE(Plan().ends_with("append 0 1-4; chunk 0 16"));
  EXPECT_TRUE(Answer().empty());
  EXPECT_EQ(Plan(), "2: append 0 5-8; chunk 0 16");
  EXPECT_TRUE(Answer().empty());
  EXPECT_EQ(Plan(), "3: append 0 9-10; chunk 0 8");
  EXPECT_EQ(Answer(), std::vector<uint64_t>{1});
}

TEST_F(GroupSchedulerTest, ChunksAndDecodesShareAStepWithinTheBudget) {
  Make({.num_blocks = 100,
        .block_size = 4,
        .max_lanes = 8,
        .max_step_tokens = 6,
        .max_model_len = 100});
  Add(2, 9);
  EXPECT_EQ(Plan(), "1s: bind 0 [1 1]; append 0 1; chunk 0 2");
  Answer();
  Add(20, 9);
  EXPECT_TRUE(Plan().ends_with("append 1 2-3; chunk 1 5")) << "decode 1 + chunk 5 = budget 6";
  EXPECT_EQ(scheduler().oldest()->tokens, 6u);
  EXPECT_EQ(Answer(), std::vector<uint64_t>{1});
}

TEST_F(GroupSchedulerTest, AnEarlierPrefillLeavesEveryLaterDecodeItsToken) {
  Make({.num_blocks = 100,
        .block_size = 4,
        .max_lanes = 8,
        .max_step_tokens = 4,
        .max_model_len = 100});
  Add(12, 9);  // prefills for several steps
  Plan();
  Answer();
  Add(1, 9);
  Add(1, 9);
  EXPECT_EQ(Plan(), "2: append 0 2; chunk 0 4") << "nothing of the budget is left to admit with";
  Answer();
  EXPECT_EQ(Plan(), "3: append 0 3; chunk 0 4");
  EXPECT_EQ(Answer(), std::vector<uint64_t>{1});
  EXPECT_EQ(Plan(), "4: append 0 4; bind 1 [2]; append 1 5; bind 2 [3]; append 2 6");
  EXPECT_EQ(Answer(), (std::vector<uint64_t>{1, 2, 3}));
}

class LatestFirst final : public Order {
 public:
  bool Before(const Sequence& a, const Sequence& b) const override { return a.arrival > b.arrival; }
};

TEST_F(GroupSchedulerTest, APrefillInFrontOfDecodesLeavesEachOfThemAToken) {
  static const LatestFirst order;
  Policies policies = FirstComeFirstServed();
  policies.order = &order;
  Make(kRoomy, 1, policies);
  Add(1, 9);
  Add(1, 9);
  Plan();
  Answer();
  Add(40, 9);  // in front of both from now on
  EXPECT_TRUE(Plan().ends_with("chunk 2 14"));
  Answer();
  EXPECT_EQ(Plan(), "3: append 2 7-9; chunk 2 14");
  EXPECT_EQ(scheduler().oldest()->tokens, 16u);
  EXPECT_EQ(Answer(), (std::vector<uint64_t>{2, 1}));
}

TEST_F(GroupSchedulerTest, ABudgetOfOneTokenStillGetsEverybodyThere) {
  Make({.num_blocks = 100,
        .block_size = 4,
        .max_lanes = 8,
        .max_step_tokens = 1,
        .max_model_len = 100});
  Add(3, 2);
  Add(1, 1);
  std::vector<uint64_t> drew;
  for (std::string plan = Plan(); plan != "nothing"; plan = Plan()) {
    EXPECT_LE(scheduler().oldest()->tokens, 1u);
    for (uint64_t arrival : Answer()) drew.push_back(arrival);
  }
  EXPECT_EQ(drew, (std::vector<uint64_t>{1, 1, 2}));
}

TEST_F(GroupSchedulerTest, APoolOfOneBlockServesOneSequenceAfterTheOther) {
  Make({.num_blocks = 1,
        .block_size = 4,
        .max_lanes = 8,
        .max_step_tokens = 16,
        .max_model_len = 100});
  Add(2, 3);
  Add(4, 1);
  std::vector<uint64_t> drew;
  for (std::string plan = Plan(); plan != "nothing"; plan = Plan()) {
    EXPECT_LE(scheduler().running(), 1u);
    for (uint64_t arrival : Answer()) drew.push_back(arrival);
  }
  EXPECT_EQ(drew, (std::vector<uint64_t>{1, 1, 1, 2}));
  EXPECT_EQ(free_blocks(), 1);
}

TEST_F(GroupSchedulerTest, AdmissionIsInOrderAndNobodyOvertakes) {
  Make({.num_blocks = 3,
        .block_size = 4,
        .max_lanes = 8,
        .max_step_tokens = 32,
        .max_model_len = 100});
  Add(4, 4);
  Add(8, 2);  // needs three blocks with its first token; two are free
  Add(1, 1);  // would fit, but came later
  EXPECT_EQ(Plan(), "1s: bind 0 [1 1 1 1]; append 0 1; chunk 0 4");
  EXPECT_EQ(scheduler().waiting(), 2u);
}

TEST_F(GroupSchedulerTest, AdmissionLooksAtTheWholeHistoryNotAtTheChunk) {
  Make({.num_blocks = 5,
        .block_size = 2,
        .max_lanes = 8,
        .max_step_tokens = 4,
        .max_model_len = 100});
  Add(2, 6);
  Plan();
  Answer();
  Add(8, 2);  // 9 tokens need 5 blocks, 3 are free: the first chunk alone would fit
  EXPECT_EQ(Plan(), "2: append 0 2");
  EXPECT_EQ(scheduler().waiting(), 1u);
}

TEST_F(GroupSchedulerTest, LanesLimitTheRunningSetAndTheLowestIsTaken) {
  Make({.num_blocks = 100,
        .block_size = 4,
        .max_lanes = 2,
        .max_step_tokens = 16,
        .max_model_len = 100});
  Sequence* first = Add(1, 9);
  Add(1, 9);
  Add(1, 9);
  EXPECT_EQ(Plan(), "1s: bind 0 [1]; append 0 1; bind 1 [2]; append 1 2");
  Answer();
  Remove(first);
  EXPECT_EQ(Plan(), "2: unbind 0; bind 0 [3]; append 0 3");
}

TEST_F(GroupSchedulerTest, TheBudgetCapsTheRunningSet) {
  Make({.num_blocks = 100,
        .block_size = 4,
        .max_lanes = 8,
        .max_step_tokens = 2,
        .max_model_len = 100});
  for (int i = 0; i < 4; ++i) Add(1, 9);
  Plan();
  EXPECT_EQ(scheduler().running(), 2u);
}

TEST_F(GroupSchedulerTest, TheLastDrawnTokenIsNeverProcessed) {
  Make({.num_blocks = 1,
        .block_size = 4,
        .max_lanes = 1,
        .max_step_tokens = 8,
        .max_model_len = 100});
  EXPECT_TRUE(scheduler().Fits(4));
  EXPECT_FALSE(scheduler().Fits(5));
  Add(2, 3);  // 5 tokens in the end, 4 of them with KV
  for (int step = 0; step < 3; ++step) {
    EXPECT_NE(Plan(), "nothing");
    EXPECT_EQ(Answer().size(), 1u);
  }
  EXPECT_EQ(free_blocks(), 1);
}

TEST_F(GroupSchedulerTest, BlocksComeBackAtOnceTheLaneWithTheNextPlan) {
  Make(kRoomy);
  Sequence* sequence = Add(8, 9);
  Plan();
  Answer();
  EXPECT_EQ(free_blocks(), 98);
  Remove(sequence);
  EXPECT_EQ(free_blocks(), 100);
  EXPECT_EQ(Plan(), "2: unbind 0");
  EXPECT_TRUE(Answer().empty());
  EXPECT_EQ(Plan(), "nothing");
}

TEST_F(GroupSchedulerTest, AWaitingSequenceThatIsRemovedLeavesNoTrace) {
  Make(kRoomy);
  Sequence* sequence = Add(8, 9);
  Remove(sequence);
  EXPECT_EQ(Plan(), "nothing");
}

TEST_F(GroupSchedulerTest, CountsAnsweredWork) {
  Make(kRoomy);
  Add(3, 2);
  Plan();
  EXPECT_EQ(scheduler().counts().steps, 0u);
  Answer();
  EXPECT_EQ(scheduler().counts().steps, 1u);
  EXPECT_EQ(scheduler().counts().processed_tokens, 3u);
  Plan();
  Answer();
  EXPECT_EQ(scheduler().counts().processed_tokens, 4u);
}

TEST_F(GroupSchedulerTest, DigestIsOfTheTablesAfterThePlansOps) {
  Make(kRoomy);
  Add(5, 9);
  EXPECT_EQ(Plan(true), "1sd: bind 0 [1 1 1 1 1]; append 0 1-2; chunk 0 5");
  RunningHash hash;
  hash.Add({"\0\0\0\0\2\0\0\0\1\0\0\0\2\0\0\0", 16});  // lane 0, two blocks: 1, 2
  EXPECT_EQ(scheduler().oldest()->digest, hash.value());
}

TEST_F(GroupSchedulerTest, ResetSendsEverybodyBackToWaitWithWhatTheyKnow) {
  Make(kRoomy);
  Sequence* first = Add(2, 9);
  Sequence* second = Add(3, 9);
  Plan();
  Answer();
  Plan();
  scheduler().Reset({.num_blocks = 7,
                     .block_size = 2,
                     .max_lanes = 1,
                     .max_step_tokens = 16,
                     .max_model_len = 100});
  scheduler().CheckInvariants();
  EXPECT_EQ(scheduler().running(), 0u);
  EXPECT_EQ(scheduler().waiting(), 2u);
  EXPECT_EQ(first->unanswered, 0u);
  EXPECT_EQ(second->promised, 0u);
  EXPECT_EQ(scheduler().oldest(), nullptr);
  EXPECT_EQ(Plan(), "1s: bind 0 [1 1 | 101]; append 0 1-2; chunk 0 3") << "one lane now";
}

TEST_F(GroupSchedulerTest, MisfitsAreThoseThatANewPoolCanNeverHold) {
  Make(kRoomy);
  Add(2, 3);
  Sequence* large = Add(2, 12);
  EXPECT_TRUE(scheduler().Misfits().empty());
  scheduler().Reset({.num_blocks = 3,
                     .block_size = 4,
                     .max_lanes = 1,
                     .max_step_tokens = 16,
                     .max_model_len = 100});
  EXPECT_EQ(scheduler().Misfits(), std::vector<Sequence*>{large});
}

}  // namespace
}  // namespace pagoda::core
