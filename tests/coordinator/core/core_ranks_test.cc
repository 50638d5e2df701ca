// Groups of several ranks: a step is done when all of them have answered.
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

// Two ranks; the harness answers as rank 0, the tests as rank 1.
class CoreRanksTest : public ::testing::Test {
 protected:
  explicit CoreRanksTest(const CoreOptions& options = {}) : harness_(options) {}

  std::vector<std::string> Join() {
    return harness_.Apply(
        GroupJoined{.group = GroupId(0), .ranks = 2, .capacity = CoreHarness::Capacity()});
  }
  std::vector<std::string> Second(uint64_t epoch, uint64_t step, uint64_t digest = 0) {
    return harness_.Apply(StepDone{.group = GroupId(0),
                                   .rank = 1,
                                   .epoch = Epoch(epoch),
                                   .step = Step(step),
                                   .table_digest = digest});
  }
  void Open(uint64_t epoch) {
    Join();
    harness_.Answer();
    Second(epoch, 0);
  }

  CoreHarness harness_;
};

TEST_F(CoreRanksTest, AnEpochIsOpenWhenAllRanksAre) {
  Join();
  Second(1, 0);
  EXPECT_FALSE(harness_.stats().ready);
  harness_.Answer();
  EXPECT_TRUE(harness_.stats().ready);
}

TEST_F(CoreRanksTest, TokensAreShownWhenTheLastRankHasAnswered) {
  Open(1);
  harness_.Submit(1, 2, 4);
  harness_.Tick();  // steps 1 and 2
  EXPECT_THAT(harness_.Answer(), IsEmpty());
  EXPECT_THAT(harness_.Tokens(1), IsEmpty());
  EXPECT_THAT(Second(1, 1), ElementsAre("emit 1 1"));
  // The other way round, and tokens are rank 0's.
  EXPECT_THAT(Second(1, 2), IsEmpty());
  EXPECT_THAT(harness_.Answer(), ElementsAre("emit 1 2"));
  EXPECT_THAT(harness_.Tokens(1), ElementsAre(101, 102));
}

TEST_F(CoreRanksTest, ARankMayRunAheadOfTheOthers) {
  Open(1);
  harness_.Submit(1, 2, 4);
  harness_.Tick();
  harness_.Answer();
  harness_.Answer();
  EXPECT_THAT(Second(1, 1), ElementsAre("emit 1 1"));
  EXPECT_THAT(Second(1, 2), ElementsAre("emit 1 2"));
}

TEST_F(CoreRanksTest, AnswersToALostEpochAreNotThoseOfTheNext) {
  Open(1);
  harness_.Submit(1, 2, 3);
  harness_.Tick();
  harness_.Answer();  // of rank 0; rank 1 dies
  harness_.Lose();
  Open(2);
  EXPECT_THAT(Second(1, 1), IsEmpty()) << "late, of the dead epoch";
  for (uint64_t step = 1; harness_.ended(1) == nullptr; ++step) {
    harness_.Tick();
    harness_.Answer();
    Second(2, step);
  }
  EXPECT_THAT(harness_.Tokens(1), ElementsAre(101, 102, 103));
  EXPECT_EQ(harness_.stats().epochs, 2u);
}

TEST_F(CoreRanksTest, AMissingRankIsLate) {
  Open(1);
  harness_.Submit(1, 2, 4);
  harness_.Tick();
  harness_.Answer();
  Second(1, 1);  // calibrates the cost model
  harness_.Tick();
  harness_.Answer();
  EXPECT_THAT(harness_.Tick(absl::Minutes(20)), Contains(StartsWith("drop epoch 1")));
}

TEST_F(CoreRanksTest, AnAnswerTwiceDropsTheEpoch) {
  Open(1);
  harness_.Submit(1, 2, 4);
  harness_.Tick();
  Second(1, 1);
  Second(1, 2);
  EXPECT_THAT(Second(1, 2), Contains(HasSubstr("no step is unanswered")));
}

class CoreDigestTest : public CoreRanksTest {
 protected:
  CoreDigestTest() : CoreRanksTest({.digest_interval = 1}) {}
};

TEST_F(CoreDigestTest, RanksWithOtherTablesDropTheEpoch) {
  Open(1);
  harness_.Submit(1, 2, 4);
  harness_.Tick();
  const uint64_t digest = harness_.answers().front().table_digest;
  harness_.Answer();
  EXPECT_THAT(Second(1, 1, digest), ElementsAre("emit 1 1"));
  const uint64_t next = harness_.answers().front().table_digest;
  EXPECT_THAT(Second(1, 2, next ^ 1), IsEmpty()) << "not compared with anything yet";
  EXPECT_THAT(harness_.Answer(), Contains(HasSubstr("other block tables")));
}

TEST_F(CoreDigestTest, RanksThatAgreeOnWrongTablesDropItToo) {
  Open(1);
  harness_.Submit(1, 2, 4);
  harness_.Tick();
  StepDone& first = harness_.answers().front();
  first.table_digest ^= 1;
  const uint64_t wrong = first.table_digest;
  harness_.Answer();
  EXPECT_THAT(Second(1, 1, wrong), Contains(HasSubstr("block tables differ from the worker's")));
}

}  // namespace
}  // namespace pagoda::core
