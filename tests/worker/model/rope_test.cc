#include "worker/model/rope.h"

#include <cmath>

#include "gtest/gtest.h"

namespace pagoda {
namespace {

TEST(RopeTest, PlainFrequenciesArePowersOfTheta) {
  const RopeConfig rope = {.theta = 10000};
  const std::vector<double> frequencies = InverseFrequencies(rope, 8);
  ASSERT_EQ(frequencies.size(), 4u);
  const double expected[] = {1, 0.1, 0.01, 0.001};
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(frequencies[i] / expected[i], 1, 1e-15);
}

TEST(RopeTest, LinearScalingDividesEveryFrequency) {
  const RopeConfig plain = {.theta = 500000};
  const RopeConfig linear = {.kind = RopeConfig::Kind::kLinear, .theta = 500000, .factor = 4};
  const std::vector<double> a = InverseFrequencies(plain, 128);
  const std::vector<double> b = InverseFrequencies(linear, 128);
  ASSERT_EQ(b.size(), 64u);
  for (size_t i = 0; i < b.size(); ++i) EXPECT_EQ(b[i], a[i] / 4);
}

// Llama 3.1's parameters, with the three regions computed from the frequencies themselves.
TEST(RopeTest, Llama3KeepsShortWavesScalesLongOnesAndBlendsBetween) {
  const RopeConfig plain = {.theta = 500000};
  RopeConfig scaled = {.kind = RopeConfig::Kind::kLlama3, .theta = 500000, .factor = 8};
  scaled.low_freq_factor = 1;
  scaled.high_freq_factor = 4;
  scaled.original_max_position_embeddings = 8192;
  const std::vector<double> a = InverseFrequencies(plain, 128);
  const std::vector<double> b = InverseFrequencies(scaled, 128);
  int kept = 0, divided = 0, mixed = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double turns = 8192 * a[i] / (2 * M_PI);  // over the original context
    if (turns > 4) {
      EXPECT_EQ(b[i], a[i]) << i;
      ++kept;
    } else if (turns < 1) {
      EXPECT_EQ(b[i], a[i] / 8) << i;
      ++divided;
    } else {
      const double part = (turns - 1) / 3;
      EXPECT_NEAR(b[i] / (part * a[i] + (1 - part) * a[i] / 8), 1, 1e-12) << i;
      EXPECT_GT(b[i], a[i] / 8);
      EXPECT_LT(b[i], a[i]);
      ++mixed;
    }
    EXPECT_LT(b[i], i == 0 ? 2 : b[i - 1]);
  }
  // As the published model has them.
  EXPECT_EQ(kept, 29);
  EXPECT_EQ(mixed, 6);
  EXPECT_EQ(divided, 29);
}

}  // namespace
}  // namespace pagoda
