#include "common/clock.h"

#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace pagoda {
namespace {

TEST(RealClockTest, IsNearWallTimeAndNeverGoesBack) {
  EXPECT_LT(absl::AbsDuration(RealClock()->Now() - absl::Now()), absl::Seconds(60));
  absl::Time last = RealClock()->Now();
  for (int i = 0; i < 10'000; ++i) {
    const absl::Time now = RealClock()->Now();
    ASSERT_GE(now, last);
    last = now;
  }
}

TEST(SimulatedClockTest, MovesOnlyWhenTold) {
  SimulatedClock clock;
  EXPECT_EQ(clock.Now(), absl::UnixEpoch());
  clock.AdvanceBy(absl::Milliseconds(250));
  EXPECT_EQ(clock.Now(), absl::FromUnixMillis(250));
  EXPECT_EQ(clock.Now(), absl::FromUnixMillis(250));
  clock.AdvanceTo(absl::FromUnixSeconds(9));
  EXPECT_EQ(clock.Now(), absl::FromUnixSeconds(9));
  clock.AdvanceTo(absl::FromUnixSeconds(9));
  EXPECT_EQ(clock.Now(), absl::FromUnixSeconds(9));
  clock.Set(absl::FromUnixSeconds(1));
  EXPECT_EQ(clock.Now(), absl::FromUnixSeconds(1));
}

TEST(SimulatedClockTest, StartsWhereAsked) {
  const SimulatedClock clock(absl::FromUnixNanos(1'700'000'000'123'456'789));
  EXPECT_EQ(absl::ToUnixNanos(clock.Now()), 1'700'000'000'123'456'789);
}

TEST(SimulatedClockDeathTest, DoesNotAdvanceBackwards) {
  SimulatedClock clock(absl::FromUnixSeconds(5));
  EXPECT_DEATH(clock.AdvanceTo(absl::FromUnixSeconds(4)), "advances only");
  EXPECT_DEATH(clock.AdvanceBy(-absl::Nanoseconds(1)), "advances only");
}

}  // namespace
}  // namespace pagoda
