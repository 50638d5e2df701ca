// The vector passes of sampling: noise against Philox and double arithmetic, sums, bits across
// paths.
#include "kernels/cpu/sampling_kernels.h"

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "common/philox.h"
#include "gtest/gtest.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/flush_denormals.h"
#include "kernels/cpu/isa.h"

namespace pagoda::cpu {
namespace {

constexpr DrawKey kKey = {{0x12345678, 0x9abcdef0}, {4711, 3, 0}};

class SamplingKernelsTest : public testing::TestWithParam<Isa> {
 protected:
  const SamplingKernels& kernels() { return *KernelsFor(GetParam()).sampling; }
  const ScopedFlushDenormals flush_;
};

INSTANTIATE_TEST_SUITE_P(,
                         SamplingKernelsTest,
                         testing::ValuesIn(SupportedIsas()),
                         [](const auto& info) { return std::string(IsaName(info.param)); });

// Of the uniform number as fp32 holds it: the contract's v.
double ExactGumbel(uint32_t word) {
  const float v = std::fma(static_cast<float>(word), 0x1p-32f, 0x1p-33f);
  return -std::log(-std::log1p(-std::fmin(double{v}, 1 - 0x1p-24)));
}

TEST_P(SamplingKernelsTest, NoiseIsTheGumbelOfThePhiloxWordOfItsIndex) {
  constexpr int kCount = 64 * 4096;
  std::vector<float> noise(kCount);
  kernels().gumbel(kCount, kKey, noise.data());
  double worst = 0, sum = 0;
  for (int id = 0; id < kCount; ++id) {
    const std::array<uint32_t, 4> words = Philox4x32(
        {kKey.counter[0], kKey.counter[1], kKey.counter[2], static_cast<uint32_t>(id / 4)},
        {kKey.key[0], kKey.key[1]});
    const double want = ExactGumbel(words[id % 4]);
    worst = std::max(worst, std::abs(noise[id] - want) / std::max(1.0, std::abs(want)));
    sum += noise[id];
  }
  EXPECT_LT(worst, 4e-7);  // the bound of NUMERICS.md
  EXPECT_NEAR(sum / kCount, 0.5772, 0.01) << "the mean of a standard Gumbel";
}

TEST_P(SamplingKernelsTest, GumbelArgmaxIsTheArgmaxOfScorePlusNoise) {
  std::mt19937_64 random(4);
  std::normal_distribution<float> normal(0, 3);
  constexpr int kCount = 640;
  std::vector<float> noise(kCount), x(kCount);
  for (uint32_t position = 0; position < 300; ++position) {
    DrawKey key = kKey;
    key.counter[0] = position;
    kernels().gumbel(kCount, key, noise.data());
    float max = -1e30f;
    for (float& value : x) {
      value = random() % 3 ? normal(random) : -std::numeric_limits<float>::infinity();
      max = std::max(max, value);
    }
    int want = -1;
    float best = -std::numeric_limits<float>::infinity();
    for (int i = 0; i < kCount; ++i) {
      x[i] -= max;
      if (x[i] + noise[i] > best) {
        best = x[i] + noise[i];
        want = i;
      }
    }
    EXPECT_EQ(kernels().gumbel_argmax(x.data(), kCount, key), want);
  }
}

TEST_P(SamplingKernelsTest, EqualScoresGoToTheLowestIndex) {
  std::vector<float> x(256, -1e9f);  // so low that adding noise changes nothing
  EXPECT_EQ(kernels().gumbel_argmax(x.data(), 256, kKey), 0);
  for (int i = 0; i < 100; ++i) x[i] = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(kernels().gumbel_argmax(x.data(), 256, kKey), 100);
}

TEST_P(SamplingKernelsTest, SumsLongRowsAccurately) {
  for (const int n : {1, 5, 16, 1000, 1024, 1030, 150000}) {
    std::vector<float> x(n);
    std::mt19937_64 random(n);
    std::normal_distribution<float> normal(0, 2);
    double want = 0;
    for (float& value : x) want += std::exp(double{value = normal(random)} - 9);
    EXPECT_NEAR(kernels().sum_exp(x.data(), n, 9) / want, 1, 5e-7) << n;
  }
}

TEST_P(SamplingKernelsTest, EveryPathGivesTheBitsOfTheScalarOne) {
  const SamplingKernels& scalar = *KernelsFor(Isa::kScalar).sampling;
  std::mt19937_64 random(9);
  std::normal_distribution<float> normal(0, 20);
  for (const int n : {1, 17, 64, 1025, 4999}) {
    std::vector<float> x(n);
    for (float& value : x) value = normal(random);
    const int padded = PaddedVocab(n);
    std::vector<float> a(padded), b(padded);
    const auto same = [&] { return std::memcmp(a.data(), b.data(), padded * sizeof(float)) == 0; };
    scalar.scale(x.data(), n, 55, 0.3f, a.data());
    kernels().scale(x.data(), n, 55, 0.3f, b.data());
    EXPECT_TRUE(same());
    scalar.exp(std::vector<float>(a).data(), padded, a.data());
    kernels().exp(std::vector<float>(b).data(), padded, b.data());
    EXPECT_TRUE(same());
    scalar.gumbel(padded, kKey, a.data());
    kernels().gumbel(padded, kKey, b.data());
    EXPECT_TRUE(same());
    EXPECT_EQ(scalar.sum_exp(x.data(), n, 60), kernels().sum_exp(x.data(), n, 60));
    EXPECT_EQ(scalar.argmax(x.data(), n), kernels().argmax(x.data(), n));
  }
}

}  // namespace
}  // namespace pagoda::cpu
