#include "coordinator/core/recovery/group_epoch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pagoda::core {
namespace {

using ::testing::HasSubstr;
using State = GroupEpoch::State;

absl::Time At(int64_t seconds) { return absl::FromUnixSeconds(seconds); }

// Of a group of one rank, which completes every step that it answers.
absl::Status Answer(GroupEpoch* epoch, uint64_t step) {
  absl::Status status = epoch->Answered(0, Step(step), 0);
  if (!status.ok()) return status;
  EXPECT_EQ(epoch->TakeComplete(), Step(step));
  return status;
}

// In epoch 1, open, nothing unanswered.
GroupEpoch Opened() {
  GroupEpoch epoch;
  epoch.Begin(Epoch(0), 1, absl::Seconds(60));
  EXPECT_TRUE(Answer(&epoch, 0).ok());
  return epoch;
}

TEST(GroupEpochTest, OpensWithTheAnswerToStepZero) {
  GroupEpoch epoch;
  EXPECT_EQ(epoch.state(), State::kAbsent);
  epoch.Begin(Epoch(0), 1, absl::Seconds(60));
  EXPECT_EQ(epoch.state(), State::kOpening);
  EXPECT_EQ(epoch.epoch(), Epoch(1));
  EXPECT_TRUE(Answer(&epoch, 0).ok());
  EXPECT_EQ(epoch.state(), State::kOpen);
}

TEST(GroupEpochTest, EpochsRiseAboveEveryEarlierOneAndTheWorkersOwn) {
  GroupEpoch epoch;
  epoch.Begin(Epoch(41), 1, absl::Seconds(60));
  EXPECT_EQ(epoch.epoch(), Epoch(42));
  epoch.Finish();
  epoch.Begin(Epoch(7), 1, absl::Seconds(60));
  EXPECT_EQ(epoch.epoch(), Epoch(43)) << "a worker that knows less does not bring it down";
}

TEST(GroupEpochTest, AnswersComeInOrder) {
  GroupEpoch epoch = Opened();
  epoch.Sent(Step(1), At(0), absl::Seconds(10));
  epoch.Sent(Step(2), At(0), absl::Seconds(10));
  EXPECT_TRUE(Answer(&epoch, 1).ok());
  EXPECT_TRUE(Answer(&epoch, 2).ok());
}

TEST(GroupEpochTest, AnAnswerOutOfOrderNamesWhatWasExpected) {
  GroupEpoch epoch = Opened();
  epoch.Sent(Step(1), At(0), absl::Seconds(10));
  epoch.Sent(Step(2), At(0), absl::Seconds(10));
  const absl::Status status = Answer(&epoch, 2);
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("step 2, expected 1"));
}

TEST(GroupEpochTest, AnAnswerThatNobodyAskedForIsAnError) {
  GroupEpoch epoch = Opened();
  const absl::Status status = Answer(&epoch, 1);
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("no step is unanswered"));
}

TEST(GroupEpochTest, TheOpeningHasADeadlineFromTheNextTick) {
  GroupEpoch epoch;
  epoch.Begin(Epoch(0), 1, absl::Seconds(60));
  EXPECT_EQ(epoch.deadline(), absl::InfiniteFuture());
  epoch.Tick(At(100));
  EXPECT_EQ(epoch.deadline(), At(160));
  epoch.Tick(At(120));
  EXPECT_EQ(epoch.deadline(), At(160)) << "time does not begin again";
  EXPECT_TRUE(Answer(&epoch, 0).ok());
  EXPECT_EQ(epoch.deadline(), absl::InfiniteFuture());
}

TEST(GroupEpochTest, AStepSentAloneIsTimedFromItsSending) {
  GroupEpoch epoch = Opened();
  epoch.Sent(Step(1), At(5), absl::Seconds(10));
  EXPECT_EQ(epoch.deadline(), At(15));
}

TEST(GroupEpochTest, AStepBehindAnotherIsTimedFromWhenItBecameTheOldest) {
  GroupEpoch epoch = Opened();
  epoch.Sent(Step(1), At(0), absl::Seconds(10));
  epoch.Sent(Step(2), At(1), absl::Seconds(30));
  EXPECT_EQ(epoch.deadline(), At(10)) << "of the oldest";
  EXPECT_TRUE(Answer(&epoch, 1).ok());
  EXPECT_EQ(epoch.deadline(), absl::InfiniteFuture());
  epoch.Tick(At(9));
  EXPECT_EQ(epoch.deadline(), At(39));
  EXPECT_TRUE(Answer(&epoch, 2).ok());
  epoch.Tick(At(10));
  EXPECT_EQ(epoch.deadline(), absl::InfiniteFuture()) << "nothing is unanswered";
}

TEST(GroupEpochTest, FinishForgetsEverythingButTheNumber) {
  GroupEpoch epoch = Opened();
  epoch.Sent(Step(1), At(0), absl::Seconds(10));
  epoch.Finish();
  EXPECT_EQ(epoch.state(), State::kAbsent);
  EXPECT_EQ(epoch.deadline(), absl::InfiniteFuture());
  EXPECT_EQ(epoch.epoch(), Epoch(1));
  epoch.Tick(At(50));
  EXPECT_EQ(epoch.deadline(), absl::InfiniteFuture());
  epoch.Begin(Epoch(0), 1, absl::Seconds(60));
  EXPECT_TRUE(Answer(&epoch, 0).ok()) << "the old epoch's steps are forgotten";
}

// In epoch 1, opened by all ranks.
GroupEpoch OpenedBy(uint32_t ranks) {
  GroupEpoch epoch;
  epoch.Begin(Epoch(0), ranks, absl::Seconds(60));
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    EXPECT_EQ(epoch.TakeComplete(), std::nullopt);
    EXPECT_EQ(epoch.state(), State::kOpening);
    EXPECT_TRUE(epoch.Answered(rank, Step(0), 0).ok());
  }
  EXPECT_EQ(epoch.TakeComplete(), Step(0));
  EXPECT_EQ(epoch.state(), State::kOpen);
  return epoch;
}

TEST(GroupEpochTest, AStepIsCompleteWhenAllRanksHaveAnsweredIt) {
  GroupEpoch epoch = OpenedBy(3);
  epoch.Sent(Step(1), At(0), absl::Seconds(10));
  epoch.Sent(Step(2), At(0), absl::Seconds(10));
  // Ranks run ahead of each other, each in its own order.
  for (const auto& [rank, step] : {std::pair(2u, 1), {2u, 2}, {0u, 1}}) {
    EXPECT_TRUE(epoch.Answered(rank, Step(step), 0).ok());
    EXPECT_EQ(epoch.TakeComplete(), std::nullopt);
  }
  EXPECT_EQ(epoch.deadline(), At(10)) << "of the step that rank 1 has not answered";
  EXPECT_TRUE(epoch.Answered(1, Step(1), 0).ok());
  EXPECT_EQ(epoch.TakeComplete(), Step(1));
  EXPECT_EQ(epoch.TakeComplete(), std::nullopt);
  EXPECT_TRUE(epoch.Answered(1, Step(2), 0).ok());
  EXPECT_TRUE(epoch.Answered(0, Step(2), 0).ok());
  EXPECT_EQ(epoch.TakeComplete(), Step(2));
}

TEST(GroupEpochTest, OneAnswerMayCompleteSeveralSteps) {
  GroupEpoch epoch = OpenedBy(2);
  epoch.Sent(Step(1), At(0), absl::Seconds(10));
  epoch.Sent(Step(2), At(0), absl::Seconds(10));
  EXPECT_TRUE(epoch.Answered(1, Step(1), 0).ok());
  EXPECT_TRUE(epoch.Answered(1, Step(2), 0).ok());
  EXPECT_TRUE(epoch.Answered(0, Step(1), 0).ok());
  EXPECT_TRUE(epoch.Answered(0, Step(2), 0).ok());
  EXPECT_EQ(epoch.TakeComplete(), Step(1));
  EXPECT_EQ(epoch.TakeComplete(), Step(2));
}

TEST(GroupEpochTest, ARankThatAnswersTwiceOrIsNoneIsAnError) {
  GroupEpoch epoch = OpenedBy(2);
  epoch.Sent(Step(1), At(0), absl::Seconds(10));
  EXPECT_TRUE(epoch.Answered(1, Step(1), 0).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(epoch.Answered(1, Step(1), 0)));
  for (const uint32_t rank : {2u, 31u, 32u, 1u << 31}) {
    EXPECT_THAT(std::string(epoch.Answered(rank, Step(1), 0).message()),
                HasSubstr("which is none"));
  }
}

TEST(GroupEpochTest, RanksWithOtherTablesAreAnError) {
  GroupEpoch epoch = OpenedBy(2);
  epoch.Sent(Step(1), At(0), absl::Seconds(10));
  EXPECT_TRUE(epoch.Answered(1, Step(1), 7).ok());
  const absl::Status status = epoch.Answered(0, Step(1), 8);
  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("rank 0 has other block tables"));
}

using GroupEpochDeathTest = ::testing::Test;

TEST(GroupEpochDeathTest, AnEpochBeginsOnlyWhenNoneIsOpen) {
  GroupEpoch epoch = Opened();
  EXPECT_DEATH(epoch.Begin(Epoch(0), 1, absl::Seconds(1)), "CHECK");
}

TEST(GroupEpochDeathTest, PlansAreSentOnlyInAnOpenEpoch) {
  GroupEpoch epoch;
  EXPECT_DEATH(epoch.Sent(Step(1), At(0), absl::Seconds(1)), "CHECK");
}

}  // namespace
}  // namespace pagoda::core
