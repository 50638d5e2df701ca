// Two plans under way: rows whose input token is not known yet, and what happens to them.
#include <gtest/gtest.h>

#include "tests/coordinator/core/scheduler/scheduler_fixture.h"

namespace pagoda::core {
namespace {

constexpr GroupCapacity kRoomy = {.num_blocks = 100,
                                  .block_size = 4,
                                  .max_lanes = 8,
                                  .max_step_tokens = 16,
                                  .max_model_len = 100};

TEST_F(GroupSchedulerTest, DepthTwoPlansADecodeBeforeItsTokenIsKnown) {
  Make(kRoomy, 2);
  Sequence* sequence = Add(3, 5);
  EXPECT_EQ(Plan(), "1s: bind 0 [1 1 1]; append 0 1; chunk 0 3");
  EXPECT_TRUE(scheduler().CanPlan());
  EXPECT_EQ(Plan(), "2:");
  EXPECT_FALSE(scheduler().CanPlan());
  EXPECT_EQ(sequence->known, 3u);
  EXPECT_EQ(sequence->planned, 4u);
  EXPECT_EQ(sequence->promised, 2u);
  EXPECT_EQ(Answer(), std::vector<uint64_t>{1});
  EXPECT_EQ(Plan(), "3: append 0 2");
}

TEST_F(GroupSchedulerTest, DepthOneWaitsForTheAnswer) {
  Make(kRoomy, 1);
  Add(3, 5);
  Plan();
  EXPECT_FALSE(scheduler().CanPlan());
}

TEST_F(GroupSchedulerTest, AStopByLengthIsSeenAtPlanning) {
  Make(kRoomy, 2);
  Add(3, 2);
  Add(3, 9);
  Plan();
  Plan();  // processes the first token of each and draws the second, the last of the first
  Answer();
  EXPECT_EQ(Plan(), "3: append 1 3; hold 0") << "nothing is wasted on it";
}

// Holds alone are no work: no plan.
TEST_F(GroupSchedulerTest, APlanOfHoldsAloneIsNotSent) {
  Make(kRoomy, 3);
  Add(3, 2);
  Plan();
  Plan();
  EXPECT_EQ(Plan(), "nothing");
}

TEST_F(GroupSchedulerTest, AStopByTokenCostsAtMostOneRowAtDepthTwo) {
  Make(kRoomy, 2);
  Add(3, 9);
  Plan();
  Plan();
  EXPECT_EQ(Answer({1}), std::vector<uint64_t>{1}) << "the first token ends it";
  EXPECT_EQ(free_blocks(), 100);
  EXPECT_TRUE(Answer().empty()) << "plan 2 drew for a sequence that is over";
  EXPECT_EQ(scheduler().counts().processed_tokens, 4u);
  EXPECT_EQ(Plan(), "3: unbind 0");
}

TEST_F(GroupSchedulerTest, ARowBelongsToItsPlanNotToTheLanesNewOccupant) {
  Make({.num_blocks = 100,
        .block_size = 4,
        .max_lanes = 1,
        .max_step_tokens = 16,
        .max_model_len = 100},
       2);
  Add(3, 9);
  Add(2, 9);
  Plan();
  EXPECT_EQ(Plan(), "2:");
  EXPECT_EQ(Answer({1}), std::vector<uint64_t>{1});
  EXPECT_EQ(Plan(), "3: unbind 0; bind 0 [2 2]; append 0 2; chunk 0 2") << "the same lane";
  EXPECT_TRUE(Answer().empty()) << "plan 2's token is of the first sequence, which is over";
  EXPECT_EQ(Answer(), std::vector<uint64_t>{2});
}

TEST_F(GroupSchedulerTest, APreemptedSequenceTakesTheTokensThatWereUnderWay) {
  Make({.num_blocks = 4,
        .block_size = 2,
        .max_lanes = 4,
        .max_step_tokens = 16,
        .max_model_len = 32},
       2);
  Add(3, 5);
  Sequence* second = Add(3, 5);
  Plan();
  Plan();
  EXPECT_EQ(Answer(), (std::vector<uint64_t>{1, 2}));
  EXPECT_EQ(Plan(), "3: unbind 1; append 0 3");
  EXPECT_EQ(second->unanswered, 1u) << "of plan 2";
  EXPECT_EQ(second->known, 4u);
  EXPECT_EQ(Answer(), (std::vector<uint64_t>{1, 2})) << "plan 2 ran before it was unbound";
  EXPECT_EQ(second->known, 5u);
  EXPECT_EQ(second->done, 0u) << "its KV is gone";
}

TEST_F(GroupSchedulerTest, ItComesBackOnlyWhenItsHistoryIsComplete) {
  Make({.num_blocks = 5,
        .block_size = 2,
        .max_lanes = 4,
        .max_step_tokens = 16,
        .max_model_len = 32},
       2);
  Sequence* first = Add(3, 6);
  Sequence* second = Add(3, 6);
  Plan();
  Plan();
  Answer();
  // Both need a block for their fifth token; there is one.
  EXPECT_EQ(Plan(), "3: append 0 5; unbind 1");
  Remove(first);  // everything is free now
  EXPECT_EQ(second->unanswered, 1u);
  ASSERT_EQ(Answer(), std::vector<uint64_t>{2});
  EXPECT_EQ(Plan(), "4: unbind 0; bind 0 [2 2 2 | 201 202]; append 0 3-5; chunk 0 5");
}

TEST_F(GroupSchedulerTest, NobodyOvertakesASequenceThatWaitsForItsTokens) {
  Make({.num_blocks = 5,
        .block_size = 2,
        .max_lanes = 4,
        .max_step_tokens = 16,
        .max_model_len = 32},
       3);
  Sequence* first = Add(3, 6);
  Add(3, 6);
  Plan();
  Plan();
  Answer();
  EXPECT_EQ(Plan(), "3: append 0 5; unbind 1");
  Add(1, 1);
  Remove(first);
  EXPECT_EQ(Plan(), "4: unbind 0") << "the second has a row in plan 2; the third waits behind it";
  EXPECT_EQ(scheduler().waiting(), 2u);
}

TEST_F(GroupSchedulerTest, RemovingAPreemptedSequenceVoidsItsRowsUnderWay) {
  Make({.num_blocks = 4,
        .block_size = 2,
        .max_lanes = 4,
        .max_step_tokens = 16,
        .max_model_len = 32},
       2);
  Add(3, 5);
  Sequence* second = Add(3, 5);
  Plan();
  Plan();
  Answer();
  Plan();
  Remove(second);
  EXPECT_EQ(Answer(), std::vector<uint64_t>{1});
}

}  // namespace
}  // namespace pagoda::core
