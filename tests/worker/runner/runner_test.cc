#include "worker/runner/runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/testing/open_epoch.h"
#include "tests/testing/recording_backend.h"
#include "tests/worker/runner/plan_text.h"
#include "tests/worker/runner/runner_fixture.h"

namespace pagoda {
namespace {

using testing::Greedy;
using ::testing::HasSubstr;
using testing::PlanDriver;
using testing::TinyModel;

TEST_F(RunnerTest, AForkDrawsFromItsSourcesLogits) {
  ASSERT_TRUE(Step(R"(epoch: 1 step: 1 snapshot: true
      ops { bind { lane: 3 tokens: [7, 8, 9] prompt_tokens: 3 sampling { logprobs: 3 } } }
      ops { append { lane: 3 first: 5 } }
      ops { fork { source: 3 lane: 0 sampling { logprobs: 3 } } }
      ops { fork { source: 3 lane: 5 sampling { temperature: 1.5 seed: 4 logprobs: 3 } } }
      rows { lane: 3 chunk: 3 })")
                  .ok());
  ASSERT_EQ(result_.tokens_size(), 3);
  EXPECT_EQ(result_.tokens(0), result_.tokens(1)) << "both are greedy";
  ASSERT_EQ(result_.logprobs_size(), 3);
  EXPECT_EQ(result_.logprobs(2).top_tokens(0), result_.tokens(0)) << "the same distribution";
  EXPECT_EQ(result_.logprobs(2).top_logprobs(0), result_.logprobs(0).logprob());
  // Lane 0 shares the block; from here on it needs its own.
  ASSERT_TRUE(Step(R"(epoch: 1 step: 2
      ops { copy { src: 5 dst: 9 } }
      ops { set { lane: 0 index: 0 block: 9 } }
      ops { unbind { lane: 5 } })")
                  .ok());
  ASSERT_EQ(result_.tokens_size(), 2);
  EXPECT_EQ(result_.tokens(0), result_.tokens(1));
  EXPECT_EQ(runner_->lanes().lane(0).history, runner_->lanes().lane(3).history);
  EXPECT_EQ(runner_->lanes().lane(0).history.size(), 5u);
}

// A lane whose KV came with its blocks goes on as if it had computed it.
TEST_F(RunnerTest, ABoundLengthSkipsWhatTheBlocksHold) {
  ASSERT_TRUE(Step(R"(epoch: 1 step: 1 snapshot: true
      ops { bind { lane: 0 tokens: [7, 8, 9, 10] sampling { logprobs: 0 } } }
      ops { append { lane: 0 first: 5 } }
      rows { lane: 0 chunk: 4 })")
                  .ok());
  const v1::StepResult full = result_;
  ASSERT_TRUE(Step(R"(epoch: 1 step: 2
      ops { unbind { lane: 0 } }
      ops { bind { lane: 1 tokens: [7, 8, 9, 10] length: 3 sampling { logprobs: 0 } } }
      ops { append { lane: 1 first: 5 } })")
                  .ok());
  EXPECT_EQ(result_.tokens(0), full.tokens(0));
  EXPECT_EQ(result_.logprobs(0).logprob(), full.logprobs(0).logprob());
}

TEST_F(RunnerTest, TruncateGoesBackAndDrawsTheSameAgain) {
  ASSERT_TRUE(Step(R"(epoch: 1 step: 1 snapshot: true
      ops { bind { lane: 0 tokens: [7, 8, 9] } }
      ops { append { lane: 0 first: 5 } }
      rows { lane: 0 chunk: 3 })")
                  .ok());
  const uint32_t first = result_.tokens(0);
  ASSERT_TRUE(Step("epoch: 1 step: 2").ok());
  const uint32_t second = result_.tokens(0);
  // Length is now 4, history 5. Back to a history of 3 leaves nothing to process: hold.
  ASSERT_TRUE(Step(R"(epoch: 1 step: 3
      ops { unbind { lane: 0 } }
      ops { bind { lane: 0 tokens: [7, 8, 9, 100] } }
      ops { append { lane: 0 first: 5 } }
      ops { truncate { lane: 0 tokens: 3 } }
      rows { lane: 0 chunk: 3 })")
                  .ok());
  EXPECT_EQ(result_.tokens(0), first);
  ASSERT_TRUE(Step("epoch: 1 step: 4").ok());
  EXPECT_EQ(result_.tokens(0), second);
}

// Forks and truncates read histories, of which the last token may still be under way.
TEST_F(RunnerTest, PlansSentAheadGiveWhatTheyGiveOneByOne) {
  const std::vector<std::string> plans = {
      R"(epoch: 1 step: 1 snapshot: true
      ops { bind { lane: 0 tokens: [7, 8, 9] } }
      ops { append { lane: 0 first: 5 } }
      rows { lane: 0 chunk: 3 })",
      R"(epoch: 1 step: 2
      ops { fork { source: 0 lane: 1 sampling { temperature: 1.5 seed: 4 } } })",
      R"(epoch: 1 step: 3 digest: true
      ops { copy { src: 5 dst: 9 } }
      ops { set { lane: 1 index: 0 block: 9 } })",
      R"(epoch: 1 step: 4
      ops { truncate { lane: 1 tokens: 4 } }
      rows { lane: 1 hold: true })",
      R"(epoch: 1 step: 5
      ops { unbind { lane: 0 } }
      rows { lane: 1 hold: true })"};
  std::vector<std::string> results[2];
  for (const int ahead : {0, 1}) {
    ASSERT_TRUE(testing::OpenEpoch(*runner_, Config(1)).ok());
    const auto collect = [&] {
      ASSERT_TRUE(runner_->Collect(&result_).ok());
      result_.clear_busy_ns();
      results[ahead].push_back(result_.ShortDebugString());
    };
    for (const std::string& plan : plans) {
      const absl::Status status = runner_->Submit(ParsePlan(plan));
      ASSERT_TRUE(status.ok()) << status;
      if (runner_->pending() > ahead) collect();
    }
    while (runner_->pending() > 0) collect();
    const auto& history = runner_->lanes().lane(1).history;
    EXPECT_EQ(history.size(), 4u);
    results[ahead].push_back(absl::StrJoin(history, " "));
  }
  EXPECT_EQ(results[0].size(), plans.size() + 1);
  EXPECT_EQ(results[0], results[1]);
}

TEST_F(RunnerTest, LogprobsComeOnlyWhereTheyAreAskedFor) {
  ASSERT_TRUE(Step(R"(epoch: 1 step: 1 snapshot: true
      ops { bind { lane: 0 tokens: 7 sampling { logprobs: -1 } } }
      ops { append { lane: 0 first: 1 } })")
                  .ok());
  EXPECT_EQ(result_.tokens_size(), 1);
  EXPECT_EQ(result_.logprobs_size(), 0);
  ASSERT_TRUE(Step(R"(epoch: 1 step: 2
      ops { bind { lane: 1 tokens: 7 sampling { logprobs: 2 } } }
      ops { append { lane: 1 first: 2 } }
      ops { bind { lane: 2 tokens: 7 sampling { logprobs: 0 } } }
      ops { append { lane: 2 first: 3 } })")
                  .ok());
  ASSERT_EQ(result_.logprobs_size(), 3);
  EXPECT_EQ(result_.logprobs(0).ByteSizeLong(), 0u);
  ASSERT_EQ(result_.logprobs(1).top_tokens_size(), 2);
  EXPECT_EQ(result_.logprobs(1).top_tokens(0), result_.tokens(1));
  EXPECT_EQ(result_.logprobs(1).top_logprobs(0), result_.logprobs(1).logprob());
  EXPECT_EQ(result_.logprobs(1).rank(), 1u);
  EXPECT_GE(result_.logprobs(1).top_logprobs(0), result_.logprobs(1).top_logprobs(1));
  EXPECT_LT(result_.logprobs(1).logprob(), 0);
  EXPECT_EQ(result_.logprobs(2).top_tokens_size(), 0);
  EXPECT_EQ(result_.logprobs(2).logprob(), result_.logprobs(1).logprob());
}

TEST_F(RunnerTest, NaNLogitsFailTheRowAndTheGroupGoesOn) {
  ASSERT_TRUE(Step(R"(epoch: 1 step: 1 snapshot: true
      ops { bind { lane: 0 tokens: [7, 8] } }
      ops { append { lane: 0 first: 1 } }
      ops { bind { lane: 1 tokens: [7, 8] sampling { logprobs: 1 } } }
      ops { append { lane: 1 first: 2 } })")
                  .ok());
  EXPECT_EQ(result_.tokens_size(), 0);
  std::memset(runner_->pool().block(1), 0xff, runner_->pool().layout().BlockBytes());
  ASSERT_TRUE(Step("epoch: 1 step: 2").ok());
  ASSERT_EQ(result_.tokens_size(), 2);
  EXPECT_EQ(result_.tokens(0), 0u);
  ASSERT_EQ(result_.errors_size(), 1);
  EXPECT_EQ(result_.errors(0).lane(), 0u);
  EXPECT_THAT(result_.errors(0).message(), HasSubstr("NaN"));
  ASSERT_EQ(result_.logprobs_size(), 2);
  EXPECT_LT(result_.logprobs(1).logprob(), 0);
  ASSERT_TRUE(Step("epoch: 1 step: 3").ok()) << "its next step may be planned already";
  EXPECT_EQ(result_.tokens_size(), 2);
  ASSERT_TRUE(Step("epoch: 1 step: 4 ops { unbind { lane: 0 } }").ok());
  EXPECT_EQ(result_.tokens_size(), 1);
  EXPECT_EQ(result_.errors_size(), 0);
}

TEST_F(RunnerTest, PlansWithoutRowsAreLegal) {
  ASSERT_TRUE(Step("epoch: 1 step: 1 snapshot: true").ok());
  EXPECT_EQ(result_.step(), 1u);
  ASSERT_TRUE(Step("epoch: 1 step: 2 ops { zero { first: 3 count: 4 } }").ok());
  ASSERT_TRUE(Step(R"(epoch: 1 step: 3
      ops { bind { lane: 0 tokens: 7 } } rows { lane: 0 hold: true })")
                  .ok());
  EXPECT_EQ(result_.tokens_size(), 0);
  EXPECT_EQ(result_.epoch(), 1u);
}

TEST_F(RunnerTest, DigestIsOfTheTablesAfterTheOps) {
  ASSERT_TRUE(Step(R"(epoch: 1 step: 1 snapshot: true digest: true
      ops { bind { lane: 2 tokens: [7, 8] } }
      ops { append { lane: 2 first: 4 count: 2 } }
      rows { lane: 2 hold: true })")
                  .ok());
  Lanes expected({.max_lanes = 8,
                  .max_model_len = 256,
                  .block_size = 16,
                  .num_blocks = 64,
                  .vocab_size = 512});
  ASSERT_TRUE(expected.Bind(2, std::vector<uint32_t>{7, 8}, 0, 0, {}).ok());
  ASSERT_TRUE(expected.Append(2, 4, 2).ok());
  EXPECT_EQ(result_.table_digest(), expected.Digest());
  ASSERT_TRUE(Step("epoch: 1 step: 2").ok());
  EXPECT_EQ(result_.table_digest(), 0u) << "not asked for";
}

TEST_F(RunnerTest, OnlyTheNextPlanOfThisEpochIsTaken) {
  ExpectRefused("epoch: 2 step: 1 snapshot: true",
                absl::StatusCode::kFailedPrecondition,
                "a plan of epoch 2 in epoch 1");
  EXPECT_EQ(Step("epoch: 1 step: 1 snapshot: true").code(), absl::StatusCode::kFailedPrecondition)
      << "the epoch is over";
  ASSERT_TRUE(testing::OpenEpoch(*runner_, Config(2)).ok());
  ExpectRefused("epoch: 2 step: 2", absl::StatusCode::kFailedPrecondition, "a gap: step 1");
  ASSERT_TRUE(testing::OpenEpoch(*runner_, Config(3)).ok());
  ExpectRefused("epoch: 3 step: 1", absl::StatusCode::kInvalidArgument, "snapshot is false");
  ASSERT_TRUE(testing::OpenEpoch(*runner_, Config(4)).ok());
  ASSERT_TRUE(Step("epoch: 4 step: 1 snapshot: true").ok());
  ExpectRefused("epoch: 4 step: 1", absl::StatusCode::kFailedPrecondition, "a gap: step 2");
}

TEST_F(RunnerTest, ABadPlanEndsTheEpochAndANewOneStartsEmpty) {
  ASSERT_TRUE(Step(R"(epoch: 1 step: 1 snapshot: true
      ops { bind { lane: 0 tokens: 7 } } ops { append { lane: 0 first: 1 } })")
                  .ok());
  ExpectRefused("epoch: 1 step: 2 ops { bind { lane: 0 tokens: 7 } }",
                absl::StatusCode::kInvalidArgument,
                "step 2: op 0 (bind): lane 0 is bound already");
  ASSERT_TRUE(testing::OpenEpoch(*runner_, Config(2)).ok());
  EXPECT_TRUE(runner_->lanes().bound().empty());
  EXPECT_TRUE(Step("epoch: 2 step: 1 snapshot: true ops { bind { lane: 0 tokens: 7 } } "
                   "ops { append { lane: 0 first: 1 } }")
                  .ok());
}

TEST_F(RunnerTest, WhatANewerCoordinatorAsksForIsRefused) {
  v1::Plan plan = ParsePlan("epoch: 1 step: 1 snapshot: true");
  plan.GetReflection()->MutableUnknownFields(&plan)->AddVarint(99, 1);
  EXPECT_EQ(runner_->Step(plan, &result_).code(), absl::StatusCode::kUnimplemented);
}

TEST_F(RunnerTest, ConfigureChecksItsNumbers) {
  const auto refused = [&](auto change, const std::string& message) {
    v1::ConfigureRequest config = Config();
    change(&config);
    const absl::Status status = testing::OpenEpoch(*runner_, config);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
    EXPECT_EQ(runner_->epoch(), 0u);
  };
  refused([](auto* c) { c->set_block_size(0); }, "block_size is 0");
  refused([](auto* c) { c->set_block_size(24); }, "block_size is 24");
  refused([](auto* c) { c->set_block_size(256); }, "block_size is 256");
  refused([](auto* c) { c->set_num_blocks(0); }, "num_blocks is 0");
  refused([](auto* c) { c->set_num_blocks(0xffffffff); }, "num_blocks is 4294967295");
  refused([](auto* c) { c->set_max_lanes(0); }, "max_lanes is 0");
  refused([](auto* c) { c->set_max_step_tokens(0); }, "max_step_tokens is 0");
  refused([](auto* c) { c->set_max_model_len(0); }, "max_model_len is 0");
  refused([](auto* c) { c->set_max_model_len(2049); }, "2048");
  refused([](auto* c) { c->set_epoch(0); }, "epoch is 0");
}

TEST_F(RunnerTest, BusyTimeIsReported) {
  ASSERT_TRUE(Step(R"(epoch: 1 step: 1 snapshot: true
      ops { bind { lane: 0 tokens: 7 } } ops { append { lane: 0 first: 1 } })")
                  .ok());
  EXPECT_GT(result_.busy_ns(), 0u);
}

TEST(RunnerLoadTest, ErrorsComeFromModelAndDevice) {
  const auto code = [](const RunnerOptions& options) {
    return Runner::Load(options, [](auto...) {}).status().code();
  };
  const BackendFactory cpu = cpu::CpuDevice({});
  EXPECT_EQ(code({.model = "models/nothing", .device = cpu}), absl::StatusCode::kNotFound);
  EXPECT_EQ(code({.model = "models/demo", .dtype = "int8", .device = cpu}),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.model = "models/demo", .device = cpu::CpuDevice({.isa = "sse9"})}),
            absl::StatusCode::kInvalidArgument);
  const BackendFactory small = [](int) {
    return std::make_unique<testing::RecordingBackend>(
        DeviceMemory{.available = 1000, .total = 1000});
  };
  EXPECT_EQ(code({.model = "models/demo", .device = small}), absl::StatusCode::kResourceExhausted);
}

TEST(RunnerLoadTest, TheContractsVersionIsThatOfTheKernels) {
  std::ifstream file("kernels/NUMERICS.md");
  std::string title;
  std::getline(file, title);
  EXPECT_EQ(title, absl::StrCat("# The numeric contract, version ", kNumericContract));
}

}  // namespace
}  // namespace pagoda
