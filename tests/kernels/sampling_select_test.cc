// Top-k and top-p against a plain sort, at every size and with many ties.
#include "kernels/cpu/sampling_select.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace pagoda::cpu {
namespace {

constexpr float kRemoved = -std::numeric_limits<float>::infinity();

// Scores <= 0 with a 0 among them; `steps` > 0 makes ties; some are removed already.
std::vector<float> Scores(int n, int steps, std::mt19937_64* random) {
  std::exponential_distribution<float> gap(0.5f);
  std::vector<float> x(n);
  for (float& value : x) {
    value = -gap(*random);
    if (steps > 0) value = -std::floor(-value * steps) / steps;
    if ((*random)() % 5 == 0) value = kRemoved;
  }
  x[(*random)() % n] = 0;
  return x;
}

// Indices of the candidates, x falling, index rising.
std::vector<int> Order(const std::vector<float>& x) {
  std::vector<int> order;
  for (size_t i = 0; i < x.size(); ++i) {
    if (x[i] != kRemoved) order.push_back(static_cast<int>(i));
  }
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return x[a] > x[b]; });
  return order;
}

std::vector<float> KeepOnly(const std::vector<float>& x, const std::vector<int>& order, size_t n) {
  std::vector<float> kept(x.size(), kRemoved);
  for (size_t i = 0; i < std::min(n, order.size()); ++i) kept[order[i]] = x[order[i]];
  return kept;
}

uint64_t Units(float x) { return static_cast<uint64_t>(std::exp(x) * 0x1p40f); }

TEST(SamplingSelect, TopKKeepsWhatASortWould) {
  std::vector<int> scratch;
  std::mt19937_64 random(1);
  for (const int n : {1, 2, 10, 500, 3000}) {
    for (const int steps : {0, 1, 4, 100}) {
      for (const int k : {1, 2, 7, 100, 2999, 3000}) {
        std::vector<float> x = Scores(n, steps, &random);
        const std::vector<float> want = KeepOnly(x, Order(x), k);
        KeepTopK(x.data(), n, k, &scratch);
        EXPECT_EQ(x, want) << "n " << n << " steps " << steps << " k " << k;
      }
    }
  }
}

TEST(SamplingSelect, TopPKeepsTheShortestPrefixOfASort) {
  std::vector<int> scratch;
  std::mt19937_64 random(2);
  for (const int n : {1, 2, 10, 500, 3000}) {
    for (const int steps : {0, 1, 4, 100}) {
      for (const float top_p : {1e-6f, 0.1f, 0.5f, 0.9f, 0.999f}) {
        std::vector<float> x = Scores(n, steps, &random), w(n);
        for (int i = 0; i < n; ++i) w[i] = std::exp(x[i]);
        const std::vector<int> order = Order(x);
        uint64_t total = 0, sum = 0;
        for (const int i : order) total += Units(x[i]);
        size_t count = 0;
        while (count == 0 ||
               static_cast<long double>(sum) < static_cast<long double>(top_p) * total) {
          sum += Units(x[order[count++]]);
        }
        const std::vector<float> want = KeepOnly(x, order, count);
        KeepTopP(x.data(), w.data(), n, top_p, &scratch);
        EXPECT_EQ(x, want) << "n " << n << " steps " << steps << " top_p " << top_p;
      }
    }
  }
}

TEST(SamplingSelect, TiesAtTheThresholdAreKeptByIndex) {
  std::vector<int> scratch;
  std::vector<float> x = {-1, 0, -1, -2, -1, -1};
  std::vector<float> same = x;
  KeepTopK(x.data(), 6, 3, &scratch);
  EXPECT_EQ(x, (std::vector<float>{-1, 0, -1, kRemoved, kRemoved, kRemoved}));
  const float e = std::exp(-1.0f);
  const std::vector<float> w = {e, 1, e, e * e, e, e};
  KeepTopP(same.data(),
           w.data(),
           6,
           0.6f,
           &scratch);  // total 2.61: 1 + 2 e^-1 = 1.74 is the first above 1.56
  EXPECT_EQ(same, (std::vector<float>{-1, 0, -1, kRemoved, kRemoved, kRemoved}));
}

TEST(SamplingSelect, ManySmallWeightsAddUpInUnitsOfTwoToTheMinus40) {
  std::vector<int> scratch;
  constexpr int kSmall = 100000;
  std::vector<float> x(kSmall + 1, std::log(1e-6f)), w(kSmall + 1, 1e-6f);
  x[0] = 0;
  w[0] = 1;
  KeepTopP(x.data(), w.data(), kSmall + 1, 0.9375f, &scratch);
  const uint64_t each = static_cast<uint64_t>(1e-6f * 0x1p40f), one = uint64_t{1} << 40;
  const uint64_t target = (15 * (one + kSmall * each) + 15) / 16;
  const int kept = 1 + static_cast<int>((target - one + each - 1) / each);
  EXPECT_EQ(std::count_if(x.begin(), x.end(), [](float v) { return v != kRemoved; }), kept);
  EXPECT_NE(x[kept - 1], kRemoved) << "the lowest indices stay";
}

TEST(SamplingSelect, ATargetBetweenTwoUnitsIsRoundedUp) {
  std::vector<int> scratch;
  std::vector<float> x = {0, -1, -2};
  const std::vector<float> w(3, 0x1p-40f);
  KeepTopP(x.data(), w.data(), 3, 0.5f, &scratch);  // 1.5 units: two
  EXPECT_EQ(x, (std::vector<float>{0, -1, kRemoved}));
}

TEST(SamplingSelect, WeightlessCandidatesNeverEnterTopP) {
  std::vector<int> scratch;
  std::vector<float> x = {-40, 0, -30, -28.5f};
  std::vector<float> w(4);
  for (int i = 0; i < 4; ++i) w[i] = std::exp(x[i]);
  KeepTopP(x.data(), w.data(), 4, 0.9999999f, &scratch);
  EXPECT_EQ(x, (std::vector<float>{kRemoved, 0, kRemoved, kRemoved}));
}

}  // namespace
}  // namespace pagoda::cpu
