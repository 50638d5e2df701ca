// Sampling on a device gives what the CPU backend gives, to the bit.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "kernels/cpu/flush_denormals.h"
#include "kernels/cpu/sampling.h"
#include "kernels/cuda/sampling.h"
#include "tests/kernels/cuda/device_array.h"
#include "tests/kernels/reference.h"

namespace pagoda::cuda {
namespace {

using reference::SameBits;

constexpr int kLanes = 64;

// Rows of logits and what is drawn from them.
class Sampling {
 public:
  explicit Sampling(std::vector<std::vector<float>> logits)
      : logits_(std::move(logits)), vocab_(static_cast<int32_t>(logits_[0].size())) {}

  SampleRow& Add(int32_t logits_row, const SamplingParams& params) {
    const int32_t lane = static_cast<int32_t>(rows_.size());
    rows_.push_back({.logits_row = logits_row,
                     .lane = lane,
                     .params = params,
                     .position = 1000 + lane,
                     .sequence_index = lane % 3});
    return rows_.back();
  }

  // Draws on the device and on the CPU.
  void ExpectTheSame() {
    Run();
    cpu::SampleScratch scratch(vocab_);
    const cpu::ScopedFlushDenormals flush;
    for (size_t i = 0; i < rows_.size(); ++i) {
      std::vector<TokenLogprob> want_top(vocab_ + 1);
      const SampledToken want = cpu::SampleToken(cpu::kSamplingScalar,
                                                 logits_[rows_[i].logits_row].data(),
                                                 rows_[i],
                                                 &scratch,
                                                 want_top.data());
      const SampledToken& got = tokens_[i];
      ASSERT_EQ(got.token, want.token) << "row " << i;
      ASSERT_TRUE(SameBits(got.logprob, want.logprob)) << "row " << i;
      ASSERT_EQ(got.top_count, want.top_count) << "row " << i;
      for (int k = 0; k < want.top_count; ++k) {
        ASSERT_EQ(top_[got.top_begin + k].token, want_top[k].token) << "row " << i << ", " << k;
        ASSERT_TRUE(SameBits(top_[got.top_begin + k].logprob, want_top[k].logprob)) << "row " << i;
      }
      ASSERT_EQ(lane_tokens_[i], std::max(want.token, 0)) << "row " << i;
    }
  }

  const std::vector<SampledToken>& tokens() const { return tokens_; }

 private:
  void Run() {
    const Stream stream = MakeStreamOrDie();
    SamplePlan plan;
    CHECK_EQ(PlanSampling(rows_, vocab_, {.edits = 1 << 20, .top = 1 << 20}, &plan), rows_.size());
    const std::vector<SampleTask>& tasks = plan.tasks;
    std::vector<LogitEdit>& edits = plan.edits;
    const int32_t top = plan.top;
    edits.resize(edits.size() + 1);
    const int64_t stride = vocab_ + 3;
    std::vector<float> apart;
    for (const std::vector<float>& row : logits_) {
      apart.insert(apart.end(), row.begin(), row.end());
      apart.insert(apart.end(), {NAN, NAN, NAN});
    }
    const DeviceArray<float> logits(apart, stream),
        edited(std::vector<float>(rows_.size() * vocab_, NAN), stream);
    const DeviceArray<SampleTask> device_tasks(tasks, stream);
    const DeviceArray<LogitEdit> device_edits(edits, stream);
    const DeviceArray<SampledToken> tokens(std::vector<SampledToken>(rows_.size()), stream);
    const DeviceArray<TokenLogprob> device_top(std::vector<TokenLogprob>(top + 1), stream);
    const DeviceArray<int32_t> lane_tokens(std::vector<int32_t>(kLanes, -7), stream);
    CHECK_EQ(RunSampling({.logits = logits.data(),
                          .logits_stride = stride,
                          .vocab = vocab_,
                          .tasks = device_tasks.data(),
                          .edits = device_edits.data(),
                          .num_tasks = static_cast<int32_t>(rows_.size()),
                          .edited = edited.data(),
                          .tokens = tokens.data(),
                          .top = device_top.data(),
                          .lane_tokens = lane_tokens.data()},
                         stream.get()),
             cudaSuccess);
    tokens_ = tokens.Download();
    top_ = device_top.Download();
    lane_tokens_ = lane_tokens.Download();
  }

  const std::vector<std::vector<float>> logits_;
  const int32_t vocab_;
  std::vector<SampleRow> rows_;
  std::vector<SampledToken> tokens_;
  std::vector<TokenLogprob> top_;
  std::vector<int32_t> lane_tokens_;
};

// Rounded to sixteenths, so that many are equal.
std::vector<float> Logits(int vocab, uint64_t seed, float scale) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> logits;
  for (int i = 0; i < vocab; ++i) logits.push_back(std::round(normal(random) * 16) / 16);
  return logits;
}

std::vector<SamplingParams> Filters() {
  std::vector<SamplingParams> all;
  uint64_t seed = 0x123456789abcdef;
  for (const float top_p : {1.0f, 0.9f, 0.3f, 1e-6f}) {
    for (const int32_t top_k : {0, 1, 2, 40, 100'000}) {
      for (const float min_p : {0.0f, 0.05f}) {
        all.push_back({.temperature = top_k == 2 ? 1.7f : 0.8f,
                       .top_p = top_p,
                       .min_p = min_p,
                       .top_k = top_k,
                       .seed = seed += 0x9e3779b97f4a7c15,
                       .logprobs = top_k == 40 ? 5 : -1});
      }
    }
  }
  return all;
}

TEST(SamplingOnADevice, FiltersAndDrawsAsTheCpuDoes) {
  for (const int vocab : {7, 700}) {
    Sampling sampling({Logits(vocab, 1, 2), Logits(vocab, 2, 0.1f)});
    int row = 0;
    for (const SamplingParams& params : Filters()) sampling.Add(row++ % 2, params);
    sampling.ExpectTheSame();
  }
}

TEST(SamplingOnADevice, LogProbabilitiesSpanManyBlocks) {
  Sampling sampling({Logits(20'000, 3, 3)});
  sampling.Add(0, {.logprobs = 0});
  sampling.Add(0, {.temperature = 1, .top_p = 0.95f, .seed = 5, .logprobs = 12});
  sampling.ExpectTheSame();
}

TEST(SamplingOnADevice, EqualLogitsGoById) {
  Sampling sampling({std::vector<float>(500, 1.5f)});
  sampling.Add(0, {.logprobs = 3});
  sampling.Add(0, {.temperature = 1, .top_k = 5, .seed = 1});
  sampling.Add(0, {.temperature = 1, .top_p = 0.5f, .seed = 2});
  sampling.Add(0, {.temperature = 1, .top_p = 0.5f, .top_k = 3, .seed = 3});
  sampling.ExpectTheSame();
  EXPECT_EQ(sampling.tokens()[0].token, 0);
  EXPECT_LT(sampling.tokens()[1].token, 5);
}

TEST(SamplingOnADevice, EditsComeInTheirOrder) {
  Sampling sampling({Logits(300, 4, 1)});
  const std::vector<int32_t> prompt = {1, 5, 5, 9, 200}, output = {5, 7, 7, 7, 250},
                             banned = {7, 9};
  const std::vector<LogitBias> bias = {{5, 3.5f}, {5, -1.25f}, {9, 100}, {11, 2}};
  for (const float temperature : {0.0f, 1.0f}) {
    SampleRow& row = sampling.Add(0,
                                  {.temperature = temperature,
                                   .seed = 9,
                                   .logprobs = 4,
                                   .repetition_penalty = 1.3f,
                                   .presence_penalty = 0.4f,
                                   .frequency_penalty = 0.2f});
    row.prompt = prompt;
    row.output = output;
    row.bias = bias;
    row.banned = banned;
    sampling.Add(0, {.temperature = temperature, .seed = 9}).banned = banned;
    sampling.Add(0, {.temperature = temperature, .seed = 9});  // the logits are as they were
  }
  sampling.ExpectTheSame();
}

// The drawn token is the one that a single lost or early edit would change.
TEST(SamplingOnADevice, NoEditIsLostAndBiasesComeAfterPenalties) {
  constexpr int kVocab = 1000;
  std::vector<int32_t> all, but_one[4];
  const int32_t lone[] = {0, 63, 500, 999};
  std::vector<std::vector<float>> logits(5, std::vector<float>(kVocab, 1.0f));
  for (int i = 0; i < 4; ++i) logits[i][lone[i]] = 0.5f;  // wins when all others are penalised
  Sampling sampling(logits);
  for (int32_t id = 0; id < kVocab; ++id) {
    all.push_back(id);
    for (int i = 0; i < 4; ++i) {
      if (id != lone[i]) but_one[i].push_back(id);
    }
  }
  for (int i = 0; i < 4; ++i) {
    sampling.Add(i, {.presence_penalty = 10}).output = but_one[i];
    sampling.Add(i, {}).banned = but_one[i];
  }
  // 1 / 10 + 5 wins over 1 / 10 + 1; (1 + 5) / 10 would not. Token 512 is penalised by the thread
  // that adds the biases, so in any case before.
  std::vector<std::vector<LogitBias>> biases;
  for (const int32_t id : lone) biases.push_back({{512, 1}, {id, 2}, {id, 3}});
  for (const std::vector<LogitBias>& bias : biases) {
    SampleRow& row = sampling.Add(4, {.repetition_penalty = 10});
    row.prompt = all;
    row.bias = bias;
  }
  sampling.ExpectTheSame();
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(sampling.tokens()[2 * i].token, lone[i]);
    EXPECT_EQ(sampling.tokens()[2 * i + 1].token, lone[i]);
    EXPECT_EQ(sampling.tokens()[8 + i].token, lone[i]);
  }
}

TEST(SamplingOnADevice, UnusableLogitsDrawNothing) {
  std::vector<std::vector<float>> logits(4, Logits(90, 5, 1));
  logits[0][70] = NAN;
  logits[1][3] = INFINITY;
  logits[2].assign(90, -INFINITY);
  logits[3][10] = -INFINITY;
  Sampling sampling(logits);
  for (int row = 0; row < 4; ++row) {
    sampling.Add(row, {.logprobs = 2});
    sampling.Add(row, {.temperature = 1, .top_p = 0.9f, .seed = 3});
  }
  sampling.ExpectTheSame();
  for (int i = 0; i < 6; ++i) EXPECT_EQ(sampling.tokens()[i].token, -1);
  EXPECT_GE(sampling.tokens()[6].token, 0);
}

}  // namespace
}  // namespace pagoda::cuda
