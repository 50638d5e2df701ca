#include "coordinator/core/scheduler/router.h"

#include <gtest/gtest.h>

#include <vector>

namespace pagoda::core {
namespace {

GroupLoad Load(uint32_t group, bool open, uint32_t sequences) {
  return {.group = GroupId(group), .open = open, .sequences = sequences};
}

TEST(RouterTest, TheOnlyGroupServesEvenWhileItIsClosed) {
  EXPECT_EQ(Route({Load(3, false, 100)}), GroupId(3));
}

TEST(RouterTest, TheLeastLoadedGroupServes) {
  EXPECT_EQ(Route({Load(0, true, 5), Load(1, true, 2), Load(2, true, 9)}), GroupId(1));
}

TEST(RouterTest, AnOpenGroupComesBeforeAnIdleClosedOne) {
  EXPECT_EQ(Route({Load(0, false, 0), Load(1, true, 50)}), GroupId(1));
}

TEST(RouterTest, TheLowestIdAmongEqualsWhateverTheirOrder) {
  EXPECT_EQ(Route({Load(2, true, 4), Load(1, true, 4), Load(3, true, 4)}), GroupId(1));
}

using RouterDeathTest = ::testing::Test;

TEST(RouterDeathTest, ThereMustBeAGroup) { EXPECT_DEATH(Route({}), "CHECK"); }

}  // namespace
}  // namespace pagoda::core
