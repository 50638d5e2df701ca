// Who gives way when blocks run out, and how it comes back.
#include <gtest/gtest.h>

#include "tests/coordinator/core/scheduler/scheduler_fixture.h"

namespace pagoda::core {
namespace {

constexpr GroupCapacity kTight = {.num_blocks = 4,
                                  .block_size = 2,
                                  .max_lanes = 4,
                                  .max_step_tokens = 16,
                                  .max_model_len = 32};

TEST_F(GroupSchedulerTest, TheLatestGivesWayAndComesBackWithItsHistory) {
  Make(kTight);
  Add(3, 5);
  Add(3, 5);
  EXPECT_EQ(Plan(),
            "1s: bind 0 [1 1 1]; append 0 1-2; bind 1 [2 2 2]; append 1 3-4; chunk 0 3; chunk 1 3");
  Answer();
  EXPECT_EQ(Plan(), "2:");
  Answer();
  EXPECT_EQ(Plan(), "3: unbind 1; append 0 3") << "the fifth token of the first needs a block";
  EXPECT_EQ(scheduler().counts().preemptions, 1u);
  EXPECT_EQ(Answer(), std::vector<uint64_t>{1});
  EXPECT_EQ(Plan(), "4:") << "five tokens and one more do not fit yet";
  Answer();
  EXPECT_EQ(Plan(), "5: append 0 4");
  EXPECT_EQ(Answer(), std::vector<uint64_t>{1});
  EXPECT_EQ(Plan(), "6: unbind 0; bind 0 [2 2 2 | 201 202]; append 0 1-3; chunk 0 5");
}

TEST_F(GroupSchedulerTest, APlanThatPreemptsAdmitsNobody) {
  Make(kTight);
  Add(3, 5);
  Add(3, 5);
  for (int i = 0; i < 2; ++i) {
    Plan();
    Answer();
  }
  Add(1, 1);  // would fit into the block that is left over
  EXPECT_EQ(Plan(), "3: unbind 1; append 0 3");
  EXPECT_GE(free_blocks(), 1);
}

TEST_F(GroupSchedulerTest, ASequenceThatFindsNoVictimBehindItGivesWayItself) {
  Make({.num_blocks = 4,
        .block_size = 2,
        .max_lanes = 4,
        .max_step_tokens = 16,
        .max_model_len = 32});
  Add(2, 3);
  Add(4, 5);
  Plan();
  Answer();
  // The first takes the last free block; the second has nobody behind it.
  EXPECT_EQ(Plan(), "2: append 0 4; unbind 1");
  EXPECT_EQ(Answer(), std::vector<uint64_t>{1});
  EXPECT_EQ(scheduler().waiting(), 1u);
}

class LatestFirst final : public Order {
 public:
  bool Before(const Sequence& a, const Sequence& b) const override { return a.arrival > b.arrival; }
};

class AdmitAll final : public Admission {
 public:
  bool Admit(const View&) const override { return true; }
};

TEST_F(GroupSchedulerTest, SeveralGiveWayWhenOneIsNotEnough) {
  static const LatestFirst order;
  static const AdmitAll admission;
  Policies policies = FirstComeFirstServed();
  policies.order = &order;
  policies.admission = &admission;
  Make({.num_blocks = 5,
        .block_size = 4,
        .max_lanes = 4,
        .max_step_tokens = 11,
        .max_model_len = 32},
       1,
       policies);
  for (int i = 0; i < 3; ++i) Add(1, 3);
  Plan();
  Answer();
  Add(16, 1);
  EXPECT_TRUE(Plan().ends_with("append 3 4-5; chunk 3 8"));
  Answer();
  EXPECT_EQ(Plan(), "3: unbind 2; unbind 1; append 3 3; append 3 2; chunk 3 8")
      << "two of the three give their block, the last ones first";
  EXPECT_EQ(scheduler().counts().preemptions, 2u);
  EXPECT_EQ(Answer(), (std::vector<uint64_t>{3, 4}));
}

TEST_F(GroupSchedulerTest, TheOldestAlwaysGetsOn) {
  Make({.num_blocks = 3,
        .block_size = 1,
        .max_lanes = 4,
        .max_step_tokens = 4,
        .max_model_len = 32});
  for (int i = 0; i < 4; ++i) Add(1, 3);
  std::vector<uint64_t> ended;
  for (int step = 0; step < 100 && scheduler().waiting() + scheduler().running() > 0; ++step) {
    const uint32_t before = scheduler().waiting() + scheduler().running();
    Plan();
    const std::vector<uint64_t> drew = Answer();
    if (scheduler().waiting() + scheduler().running() < before) ended.push_back(drew.front());
  }
  EXPECT_EQ(ended, (std::vector<uint64_t>{1, 2, 3, 4}));
  EXPECT_GT(scheduler().counts().preemptions, 0u);
}

// Candidates of a victim policy are those without a row; the first of them may be chosen.
class FirstCandidateButNeverTheOldest final : public Victim {
 public:
  size_t Choose(absl::Span<Sequence* const> candidates) const override {
    return candidates.front()->arrival == 1 && candidates.size() > 1 ? 1 : 0;
  }
};

TEST_F(GroupSchedulerTest, AfterASequenceGaveWayItselfTheLaterOnesStillGetTheirRows) {
  static const FirstCandidateButNeverTheOldest victim;
  Policies policies = FirstComeFirstServed();
  policies.victim = &victim;
  Make({.num_blocks = 5,
        .block_size = 2,
        .max_lanes = 4,
        .max_step_tokens = 16,
        .max_model_len = 32},
       1,
       policies);
  Add(1, 6);
  Add(3, 6);
  Add(1, 6);
  Plan();
  Answer();
  Plan();
  Answer();
  EXPECT_EQ(Plan(), "3: append 0 5; unbind 1; append 2 2")
      << "the second gives way itself, the third still decodes";
  EXPECT_EQ(Answer(), (std::vector<uint64_t>{1, 3}));
}

}  // namespace
}  // namespace pagoda::core
