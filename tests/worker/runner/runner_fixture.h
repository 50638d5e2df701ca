// A runner over a tiny random model, for the tests of this folder.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "kernels/cpu/cpu_backend.h"
#include "tests/testing/open_epoch.h"
#include "tests/testing/plan_driver.h"
#include "tests/testing/tiny_model.h"
#include "tests/worker/runner/plan_text.h"
#include "worker/runner/runner.h"

namespace pagoda {

// What of a driver's run a test compares: tokens and the bits of their logprobs.
struct Output {
  std::vector<uint32_t> tokens;
  std::vector<float> logprobs;
  friend bool operator==(const Output&, const Output&) = default;
};

inline v1::ConfigureRequest Config(uint64_t epoch = 1) {
  v1::ConfigureRequest config;
  config.set_protocol_version(1);
  config.set_epoch(epoch);
  config.set_block_size(16);
  config.set_num_blocks(64);
  config.set_max_lanes(8);
  config.set_max_step_tokens(64);
  config.set_max_model_len(256);
  return config;
}

inline std::vector<uint32_t> Prompt(uint32_t seed, uint32_t tokens) {
  std::vector<uint32_t> prompt(tokens);
  for (uint32_t i = 0; i < tokens; ++i) prompt[i] = (seed * 131 + i * i * 7 + i * 29) % 512;
  return prompt;
}

inline v1::SamplingParams Random(uint64_t seed) {
  v1::SamplingParams sampling;
  sampling.set_temperature(0.9f);
  sampling.set_top_p(0.95f);
  sampling.set_top_k(50);
  sampling.set_seed(seed);
  sampling.set_logprobs(2);
  return sampling;
}

class RunnerTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    model_ = std::make_unique<testing::TinyModel>();
    auto runner = Runner::Load(
        {.model = model_->path(), .load_format = "dummy", .device = cpu::CpuDevice({.threads = 2})},
        [](auto...) {});
    ASSERT_TRUE(runner.ok()) << runner.status();
    runner_ = *std::move(runner);
  }
  static void TearDownTestSuite() {
    runner_.reset();
    model_.reset();
  }

  void SetUp() override { ASSERT_TRUE(testing::OpenEpoch(*runner_, Config()).ok()); }

  absl::Status Step(const std::string& text) { return runner_->Step(ParsePlan(text), &result_); }

  void ExpectRefused(const std::string& text, absl::StatusCode code, const std::string& message) {
    const absl::Status status = Step(text);
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(message));
    EXPECT_EQ(runner_->epoch(), 0u) << "an error ends the epoch";
  }

  // Prompts of 3 to 93 tokens, every other one greedy, run to their end.
  std::vector<Output> Generate(const v1::ConfigureRequest& config,
                               uint32_t chunk,
                               size_t first,
                               size_t count) {
    EXPECT_TRUE(testing::OpenEpoch(*runner_, config).ok());
    testing::PlanDriver driver(config, chunk);
    for (size_t i = first; i < first + count; ++i) {
      const uint32_t seed = static_cast<uint32_t>(i);
      driver.Add(Prompt(seed, 3 + seed * 10), seed % 2 == 0 ? testing::Greedy() : Random(seed), 24);
    }
    const absl::Status status = driver.Run(
        [&](const v1::Plan& plan, v1::StepResult* result) { return runner_->Step(plan, result); });
    EXPECT_TRUE(status.ok()) << status;
    std::vector<Output> outputs;
    for (size_t i = 0; i < count; ++i) {
      Output& output = outputs.emplace_back();
      output.tokens = driver.sequence(i).drawn;
      // Empty for a sequence that asked for none.
      if (driver.sequence(i).sampling.logprobs() < 0) continue;
      for (const v1::TokenLogprobs& logprobs : driver.sequence(i).logprobs) {
        output.logprobs.push_back(logprobs.logprob());
      }
    }
    return outputs;
  }

  static inline std::unique_ptr<testing::TinyModel> model_;
  static inline std::unique_ptr<Runner> runner_;
  v1::StepResult result_;
};

}  // namespace pagoda
