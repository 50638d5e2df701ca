#include "coordinator/core/scheduler/cost_model.h"

#include <gtest/gtest.h>

namespace pagoda::core {
namespace {

TEST(CostModelTest, KnowsNothingBeforeTheFirstStep) {
  CostModel cost;
  EXPECT_FALSE(cost.calibrated());
  EXPECT_EQ(cost.Predict(100), absl::ZeroDuration());
}

TEST(CostModelTest, PredictsTimePerTokenOfWhatItSaw) {
  CostModel cost;
  cost.Observe(10, absl::Milliseconds(20));
  EXPECT_TRUE(cost.calibrated());
  EXPECT_EQ(cost.Predict(1), absl::Milliseconds(2));
  EXPECT_EQ(cost.Predict(5), absl::Milliseconds(10));
}

TEST(CostModelTest, ASlowStepCountsAtOnceAFastOneSlowly) {
  CostModel cost;
  cost.Observe(1, absl::Milliseconds(1));
  cost.Observe(1, absl::Milliseconds(64));
  EXPECT_EQ(cost.Predict(1), absl::Milliseconds(64));
  cost.Observe(1, absl::Milliseconds(1));
  EXPECT_EQ(cost.Predict(1), absl::Milliseconds(63)) << "one 64th is forgotten";
  for (int i = 0; i < 1000; ++i) cost.Observe(1, absl::Milliseconds(1));
  EXPECT_EQ(cost.Predict(1), absl::Milliseconds(1)) << "never below what is seen";
}

TEST(CostModelTest, AStepWithoutTokensTeachesNothing) {
  CostModel cost;
  cost.Observe(0, absl::Seconds(5));
  EXPECT_FALSE(cost.calibrated());
}

TEST(CostModelTest, AStepThatTookNoTimeStillCalibrates) {
  CostModel cost;
  cost.Observe(1000, absl::Nanoseconds(10));
  EXPECT_TRUE(cost.calibrated());
}

}  // namespace
}  // namespace pagoda::core
