#include "kernels/cpu/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/flush_denormals.h"
#include "kernels/cpu/isa.h"

namespace pagoda::cpu {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Followed by NaN, as if the vocabulary were padded: nothing may read it.
std::vector<float> Padded(std::vector<float> logits) {
  logits.resize(logits.size() + 40, kNaN);
  return logits;
}

std::vector<float> RandomLogits(int vocab, uint64_t seed, float spread = 2) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> logits(vocab);
  for (float& x : logits) x = normal(random);
  return logits;
}

class SamplingTest : public testing::TestWithParam<Isa> {
 protected:
  SampledToken Sample(const std::vector<float>& logits, const SampleRow& row) {
    SampleScratch scratch(static_cast<int>(logits.size()));
    top_.assign(std::max(0, row.params.logprobs), {});
    const std::vector<float> padded = Padded(logits);
    const SampledToken token =
        SampleToken(*KernelsFor(GetParam()).sampling, padded.data(), row, &scratch, top_.data());
    top_.resize(token.top_count);
    return token;
  }
  int32_t Draw(const std::vector<float>& logits, const SampleRow& row) {
    return Sample(logits, row).token;
  }
  // Counts of the tokens drawn at positions [0, n).
  std::vector<int> Draws(const std::vector<float>& logits, SampleRow row, int n) {
    std::vector<int> counts(logits.size());
    SampleScratch scratch(static_cast<int>(logits.size()));
    const std::vector<float> padded = Padded(logits);
    for (row.position = 0; row.position < n; ++row.position) {
      const SampledToken token =
          SampleToken(*KernelsFor(GetParam()).sampling, padded.data(), row, &scratch, nullptr);
      ++counts.at(token.token);
    }
    return counts;
  }

  const ScopedFlushDenormals flush_;
  std::vector<TokenLogprob> top_;
};

INSTANTIATE_TEST_SUITE_P(, SamplingTest, testing::ValuesIn(SupportedIsas()), [](const auto& info) {
  return std::string(IsaName(info.param));
});

SampleRow Row(float temperature, uint64_t seed = 7) {
  SampleRow row;
  row.params.temperature = temperature;
  row.params.seed = seed;
  return row;
}

TEST_P(SamplingTest, TemperatureZeroIsTheArgmaxAndTiesGoToTheLowestId) {
  for (const int vocab : {1, 15, 16, 17, 1024, 1025, 5000}) {
    std::vector<float> logits = RandomLogits(vocab, vocab);
    const auto want = std::max_element(logits.begin(), logits.end()) - logits.begin();
    EXPECT_EQ(Draw(logits, Row(0)), want) << vocab;
    std::fill(logits.begin(), logits.end(), -3.5f);
    EXPECT_EQ(Draw(logits, Row(0)), 0) << vocab;
    logits[vocab / 2] = logits[vocab - 1] = 4;
    EXPECT_EQ(Draw(logits, Row(0)), vocab / 2) << vocab;
  }
}

TEST_P(SamplingTest, DrawsFollowTheSoftmax) {
  const std::vector<float> logits = {0.5f, 1.5f, -1, 2, 0, -4, 1, 0.25f, -0.5f, 3, 1, 1};
  for (const float temperature : {0.5f, 1.0f, 3.0f}) {
    constexpr int kDraws = 20000;
    double sum = 0;
    for (const float x : logits) sum += std::exp(x / temperature);
    const std::vector<int> counts = Draws(logits, Row(temperature), kDraws);
    double chi_square = 0, rare_expected = 0, rare = 0;
    int cells = 0;
    for (size_t i = 0; i < logits.size(); ++i) {
      const double expected = kDraws * std::exp(logits[i] / temperature) / sum;
      if (expected < 10) {
        rare_expected += expected;
        rare += counts[i];
        continue;
      }
      ++cells;
      chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
    }
    EXPECT_LT(chi_square, cells + 4 * std::sqrt(2.0 * cells)) << temperature;
    EXPECT_NEAR(rare, rare_expected, 5 * std::sqrt(rare_expected + 1)) << temperature;
  }
}

TEST_P(SamplingTest, TheSameSeedPositionAndIndexDrawTheSame) {
  const std::vector<float> logits = RandomLogits(3000, 5, 0.1f);
  SampleRow row = Row(1);
  row.position = 12345;
  const int32_t token = Draw(logits, row);
  EXPECT_EQ(Draw(logits, row), token);
  const auto changed = [&](auto change) {
    SampleRow other = row;
    change(&other);
    return Draw(logits, other) != token;
  };
  EXPECT_TRUE(changed([](SampleRow* r) { r->position += 1; }));
  EXPECT_TRUE(changed([](SampleRow* r) { r->sequence_index = 1; }));
  EXPECT_TRUE(changed([](SampleRow* r) { r->params.seed += 1; }));
  EXPECT_TRUE(changed([](SampleRow* r) { r->params.seed += uint64_t{1} << 32; }));
}

TEST_P(SamplingTest, DrawsOnlyFromTheKeptSet) {
  std::vector<float> logits(200, -1);
  logits[20] = 3;
  logits[150] = logits[30] = logits[90] = 2;
  logits[5] = 1;
  SampleRow row = Row(1);
  const auto drawn = [&] {
    const std::vector<int> counts = Draws(logits, row, 2000);
    std::vector<int> ids;
    for (int i = 0; i < 200; ++i) {
      if (counts[i] > 0) ids.push_back(i);
    }
    return ids;
  };
  row.params.top_k = 3;
  EXPECT_THAT(drawn(), ElementsAre(20, 30, 90)) << "ties go to the lowest ids";
  row.params.top_k = 0;
  row.params.min_p = 0.1f;
  EXPECT_THAT(drawn(), ElementsAre(5, 20, 30, 90, 150));
  row.params.min_p = 0.2f;
  EXPECT_THAT(drawn(), ElementsAre(20, 30, 90, 150));
  row.params.top_p = 0.5f;  // of e^3 + 3 e^2 = 42.3: 20 has 47 %, 30 brings 65 %
  EXPECT_THAT(drawn(), ElementsAre(20, 30));
  row.params.top_p = 0.4f;
  EXPECT_THAT(drawn(), ElementsAre(20));
}

TEST_P(SamplingTest, MinPComesBeforeTopPAndTopKBeforeTopP) {
  const std::vector<float> logits = {std::log(0.4f),
                                     std::log(0.3f),
                                     std::log(0.2f),
                                     std::log(0.1f)};
  SampleRow row = Row(1);
  row.params.top_p = 0.6f;  // of all four: ids 0 and 1
  EXPECT_GT(Draws(logits, row, 500)[1], 0);
  row.params.top_k = 2;  // 0.4 of 0.7 is 57 %: still two
  EXPECT_GT(Draws(logits, row, 500)[1], 0);
  row.params.top_p = 0.55f;
  EXPECT_EQ(Draws(logits, row, 500)[0], 500);
  row.params.top_k = 0;
  EXPECT_GT(Draws(logits, row, 500)[1], 0);
  row.params.min_p = 0.7f;  // leaves two: 57 % again
  EXPECT_EQ(Draws(logits, row, 500)[0], 500);
}

TEST_P(SamplingTest, AVocabularyThatIsNoMultipleOfTheBlockIsNeverLeft) {
  for (const int vocab : {1, 3, 16, 63, 64, 65, 130}) {
    const std::vector<int> counts = Draws(std::vector<float>(vocab, 0), Row(1), 20 * vocab);
    EXPECT_GT(counts.back(), 0) << vocab;  // and counts.at() has checked the rest
  }
}

TEST_P(SamplingTest, ExtremeTemperaturesAndLogitsStayInRange) {
  std::vector<float> logits = {-300, 5, 5.5f, -3e38f, 3e38f, -kInf};
  EXPECT_EQ(Draws(logits, Row(1), 100)[4], 100);
  EXPECT_EQ(Draws(logits, Row(1e-5f), 100)[4], 100);
  logits[4] = -kInf;
  EXPECT_EQ(Draws(logits, Row(1e-5f), 100)[2], 100);
  EXPECT_EQ(Draws(logits, Row(1e-30f), 100)[2], 100) << "as temperature 0";
  const std::vector<int> flat = Draws(logits, Row(1e38f), 3000);
  EXPECT_EQ(flat[4] + flat[5], 0);
  EXPECT_GT(std::min({flat[0], flat[1], flat[2]}), 600) << "uniform but for the removed";
}

TEST_P(SamplingTest, TheOnlyFiniteLogitIsAlwaysDrawn) {
  std::vector<float> logits(1000, -kInf);
  logits[777] = -1e30f;
  for (const float temperature : {0.0f, 1.0f, 100.0f}) {
    SampleRow row = Row(temperature);
    row.params.top_p = 0.9f;
    row.params.min_p = 0.1f;
    row.params.top_k = 5;
    EXPECT_EQ(Draws(logits, row, 50)[777], 50) << temperature;
  }
}

TEST_P(SamplingTest, UnusableLogitsAreReportedNotDrawn) {
  for (const float temperature : {0.0f, 1.0f}) {
    for (const int at : {0, 17, 1023, 1500}) {
      std::vector<float> logits = RandomLogits(1501, 3);
      logits[at] = kNaN;
      EXPECT_EQ(Draw(logits, Row(temperature)), kUnusableLogits) << at;
      logits[at] = -kNaN;
      EXPECT_EQ(Draw(logits, Row(temperature)), kUnusableLogits) << at;
      logits[at] = kInf;
      EXPECT_EQ(Draw(logits, Row(temperature)), kUnusableLogits) << at;
      logits[at] = -kInf;
      EXPECT_GE(Draw(logits, Row(temperature)), 0) << at;
    }
    EXPECT_EQ(Draw(std::vector<float>(100, -kInf), Row(temperature)), kUnusableLogits);
  }
}

TEST_P(SamplingTest, PenaltiesBiasAndBansApplyInThisOrder) {
  const std::vector<float> logits = {4, 3, -2, 2.5f, 0};
  const std::vector<int32_t> prompt = {0, 0, 2}, output = {1, 1, 1, 2};
  SampleRow row = Row(0);
  row.prompt = prompt;
  row.output = output;
  EXPECT_EQ(Draw(logits, row), 0) << "without a penalty the lists do nothing";
  row.params.repetition_penalty = 2;  // 2, 1.5, -4, 2.5, 0
  EXPECT_EQ(Draw(logits, row), 3);
  row.params.repetition_penalty = 1;
  row.params.presence_penalty = 1.5f;  // of outputs alone, once: 4, 1.5, -3.5
  EXPECT_EQ(Draw(logits, row), 0);
  const std::vector<LogitBias> bias = {{0, -2}};  // 2, 1.5, -3.5, 2.5
  row.bias = bias;
  EXPECT_EQ(Draw(logits, row), 3);
  const std::vector<int32_t> banned = {3, 0};
  row.banned = banned;
  EXPECT_EQ(Draw(logits, row), 1);
  row.params.frequency_penalty = 0.6f;  // three times: 3 - 1.8 - 1.5 < 0
  EXPECT_EQ(Draw(logits, row), 4);
  const std::vector<LogitBias> large = {{3, 1000}};
  row.bias = large;
  EXPECT_EQ(Draw(logits, row), 4) << "a ban outlasts any bias";
}

TEST_P(SamplingTest, ARowLeavesNothingBehindInItsScratch) {
  const std::vector<float> logits = Padded(RandomLogits(500, 8));
  SampleScratch used(500), fresh(500);
  const std::vector<int32_t> ids = {1, 2, 3, 3};
  SampleRow edited = Row(1);
  edited.params.repetition_penalty = 1.3f;
  edited.params.top_k = 10;
  edited.prompt = ids;
  edited.output = ids;
  const SamplingKernels& kernels = *KernelsFor(GetParam()).sampling;
  SampleToken(kernels, logits.data(), edited, &used, nullptr);
  for (int64_t position = 0; position < 20; ++position) {
    SampleRow row = edited;
    row.position = position;
    row.prompt = {};
    row.output = {};
    EXPECT_EQ(SampleToken(kernels, logits.data(), row, &used, nullptr).token,
              SampleToken(kernels, logits.data(), row, &fresh, nullptr).token);
  }
}

TEST_P(SamplingTest, LogprobsAreOfTheRawLogitsBestFirst) {
  for (const int vocab : {7, 5000}) {
    std::vector<float> logits = RandomLogits(vocab, 11, 3);
    logits[5] = logits[2] = 12;
    double sum = 0;
    for (const float x : logits) sum += std::exp(double{x});
    SampleRow row = Row(0.7f);
    row.params.logprobs = 4;
    row.params.top_k = 2;
    const std::vector<LogitBias> bias = {{2, -100}, {5, -100}};
    row.bias = bias;
    const SampledToken token = Sample(logits, row);
    EXPECT_NE(token.token, 2);
    EXPECT_NEAR(token.logprob, logits[token.token] - std::log(sum), 2e-6 * 20);
    std::vector<int> order(vocab);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
      return logits[a] > logits[b];
    });
    ASSERT_EQ(top_.size(), 4u);
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(top_[i].token, order[i]);
      EXPECT_NEAR(top_[i].logprob, logits[order[i]] - std::log(sum), 2e-6 * 20);
    }
    row.params.logprobs = vocab + 3;
    Sample(logits, row);
    EXPECT_EQ(top_.size(), static_cast<size_t>(vocab));
  }
}

TEST_P(SamplingTest, TheLogprobOfAVeryUnlikelyTokenIsFinite) {
  SampleRow row = Row(0);
  row.params.logprobs = 0;
  const std::vector<int32_t> banned = {1};
  row.banned = banned;
  const SampledToken token = Sample(std::vector<float>{-50, 200, -30, -300}, row);
  EXPECT_EQ(token.token, 2);
  EXPECT_FLOAT_EQ(token.logprob, -230);
  EXPECT_EQ(token.top_count, 0);
}

TEST(Sampling, EveryPathDrawsTheSameAndReportsTheSameBits) {
  const ScopedFlushDenormals flush;
  std::mt19937_64 random(21);
  for (int round = 0; round < 300; ++round) {
    const int vocab = 1 + static_cast<int>(random() % 6000);
    const std::vector<float> logits =
        Padded(RandomLogits(vocab, random(), std::exp(static_cast<float>(random() % 60) / 10 - 3)));
    SampleRow row = Row(static_cast<float>(random() % 30) / 10, random());
    row.position = static_cast<int64_t>(random() % 100000);
    if (random() % 2) row.params.top_p = static_cast<float>(1 + random() % 99) / 100;
    if (random() % 2) row.params.min_p = static_cast<float>(random() % 50) / 500;
    if (random() % 2) row.params.top_k = static_cast<int>(random() % 100);
    row.params.logprobs = static_cast<int>(random() % 6);
    std::vector<TokenLogprob> first_top(6), top(6);
    SampleScratch scratch(vocab);
    const auto sample = [&](Isa isa, std::vector<TokenLogprob>* to) {
      return SampleToken(*KernelsFor(isa).sampling, logits.data(), row, &scratch, to->data());
    };
    const SampledToken first = sample(Isa::kScalar, &first_top);
    EXPECT_GE(first.token, 0);
    EXPECT_LT(first.token, vocab);
    for (const Isa isa : SupportedIsas()) {
      const SampledToken other = sample(isa, &top);
      EXPECT_EQ(other.token, first.token) << IsaName(isa) << " round " << round;
      EXPECT_EQ(other.logprob, first.logprob) << IsaName(isa) << " round " << round;
      for (int i = 0; i < first.top_count; ++i) {
        EXPECT_EQ(top[i].token, first_top[i].token);
        EXPECT_EQ(top[i].logprob, first_top[i].logprob);
      }
    }
  }
}

}  // namespace
}  // namespace pagoda::cpu
