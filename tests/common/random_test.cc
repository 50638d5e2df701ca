#include "common/random.h"

#include <algorithm>
#include <vector>

#include "common/philox.h"
#include "gtest/gtest.h"

namespace pagoda {
namespace {

TEST(RandomTest, IsPhiloxOverACounter) {
  Random random(0x299f31d0a4093822);
  for (uint32_t block = 0; block < 3; ++block) {
    for (uint32_t word : Philox4x32({block, 0, 0, 0}, {0xa4093822, 0x299f31d0})) {
      ASSERT_EQ(random.Next32(), word);
    }
  }
}

TEST(RandomTest, Next64JoinsTwoWordsLowFirst) {
  Random words(1);
  Random pairs(1);
  for (int i = 0; i < 5; ++i) {
    const uint64_t low = words.Next32();
    const uint64_t high = words.Next32();
    ASSERT_EQ(pairs.Next64(), high << 32 | low);
  }
}

TEST(RandomTest, SeedsDiffer) { EXPECT_NE(Random(1).Next64(), Random(2).Next64()); }

TEST(RandomTest, BelowStaysInRangeAndFavoursNobody) {
  Random random(7);
  std::vector<int> counts(7);
  for (int i = 0; i < 70'000; ++i) ++counts.at(random.Below(7));
  const auto [least, most] = std::minmax_element(counts.begin(), counts.end());
  EXPECT_GT(*least, 9'500);  // 5 standard deviations below the mean
  EXPECT_LT(*most, 10'500);
}

TEST(RandomTest, BelowRejectsTheUnevenRest) {
  // A remainder alone would map 0 … 2^62-1 twice and favour the first third of this range.
  Random random(3);
  const uint64_t n = uint64_t{3} << 62;
  int first_third = 0;
  for (int i = 0; i < 30'000; ++i) {
    const uint64_t value = random.Below(n);
    ASSERT_LT(value, n);
    first_third += value < n / 3;
  }
  EXPECT_NEAR(first_third, 10'000, 500);
}

TEST(RandomTest, BelowTakesTheEdges) {
  Random random(3);
  EXPECT_EQ(random.Below(1), 0u);
  EXPECT_LT(random.Below(UINT64_MAX), UINT64_MAX);
  EXPECT_DEATH(random.Below(0), "CHECK");
}

TEST(RandomTest, UniformIsInTheHalfOpenUnitInterval) {
  Random random(11);
  double sum = 0;
  for (int i = 0; i < 10'000; ++i) {
    const double value = random.Uniform();
    ASSERT_GE(value, 0.0);
    ASSERT_LT(value, 1.0);
    sum += value;
  }
  EXPECT_NEAR(sum / 10'000, 0.5, 0.02);
}

TEST(RandomTest, BernoulliFollowsItsProbability) {
  Random random(13);
  int hits = 0;
  for (int i = 0; i < 10'000; ++i) {
    hits += random.Bernoulli(0.2);
    ASSERT_FALSE(random.Bernoulli(0));
    ASSERT_TRUE(random.Bernoulli(1));
  }
  EXPECT_NEAR(hits, 2'000, 200);
}

}  // namespace
}  // namespace pagoda
