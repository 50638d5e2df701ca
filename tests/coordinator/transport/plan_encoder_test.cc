#include "coordinator/transport/plan_encoder.h"

#include <gtest/gtest.h>

#include "proto/pagoda/v1/worker.pb.h"

namespace pagoda {
namespace {

v1::Plan RoundTrip(const core::StepPlan& plan) {
  PlanEncoder encoder;
  encoder.Encode(plan, absl::Milliseconds(2500));  // a second use must not see leftovers
  const absl::string_view bytes = encoder.Encode(plan, absl::Milliseconds(2500));
  v1::Plan parsed;
  EXPECT_TRUE(parsed.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
  // What the generated writer makes of it is the same, so nothing was written that it does not
  // know.
  EXPECT_EQ(parsed.SerializeAsString(), std::string(bytes));
  return parsed;
}

core::StepPlan PlanAt(uint64_t epoch, uint64_t step) {
  core::StepPlan plan;
  plan.epoch = core::Epoch(epoch);
  plan.step = core::Step(step);
  return plan;
}

TEST(PlanEncoderTest, HeadCarriesEpochStepAndFlags) {
  core::StepPlan plan = PlanAt(1, uint64_t{1} << 40);
  plan.snapshot = true;
  plan.digest = true;
  const v1::Plan parsed = RoundTrip(plan);
  EXPECT_EQ(parsed.epoch(), 1u);
  EXPECT_EQ(parsed.step(), uint64_t{1} << 40);
  EXPECT_TRUE(parsed.snapshot());
  EXPECT_TRUE(parsed.digest());
  EXPECT_EQ(parsed.timeout_ms(), 2500u);
}

TEST(PlanEncoderTest, TimeoutsAreRoundedUpToMilliseconds) {
  const core::StepPlan plan = PlanAt(1, 1);
  PlanEncoder encoder;
  for (const auto& [timeout, milliseconds] : {std::pair(absl::Nanoseconds(1), 1u),
                                              {absl::Milliseconds(7), 7u},
                                              {absl::ZeroDuration(), 0u},
                                              {absl::InfiniteDuration(), 0xffffffffu}}) {
    const absl::string_view bytes = encoder.Encode(plan, timeout);
    v1::Plan parsed;
    ASSERT_TRUE(parsed.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
    EXPECT_EQ(parsed.timeout_ms(), milliseconds);
  }
}

TEST(PlanEncoderTest, BindCarriesTokensAndEverySamplingField) {
  core::StepPlan plan = PlanAt(2, 3);
  plan.tokens = {9, 0, 300, 128000};
  core::PlanBind bind{.tokens_begin = 1,
                      .tokens_count = 3,
                      .prompt_tokens = 2,
                      .sequence_index = 7};
  bind.sampling = {.temperature = 0.5f,
                   .top_p = 0.9f,
                   .top_k = -1,
                   .min_p = 0.05f,
                   .seed = 0xdeadbeefcafef00dULL,
                   .logprobs = -1};
  plan.binds = {bind};
  plan.ops = {{.kind = core::OpKind::kBind, .lane = 1023, .bind = 0}};
  const v1::Plan parsed = RoundTrip(plan);
  ASSERT_EQ(parsed.ops_size(), 1);
  const v1::Bind& got = parsed.ops(0).bind();
  EXPECT_EQ(got.lane(), 1023u);
  EXPECT_EQ(std::vector<uint32_t>(got.tokens().begin(), got.tokens().end()),
            (std::vector<uint32_t>{0, 300, 128000}));
  EXPECT_EQ(got.prompt_tokens(), 2u);
  EXPECT_EQ(got.sampling().temperature(), 0.5f);
  EXPECT_EQ(got.sampling().top_p(), 0.9f);
  EXPECT_EQ(got.sampling().top_k(), -1);
  EXPECT_EQ(got.sampling().min_p(), 0.05f);
  EXPECT_EQ(got.sampling().seed(), 0xdeadbeefcafef00dULL);
  EXPECT_EQ(got.sampling().sequence_index(), 7u);
  EXPECT_EQ(got.sampling().logprobs(), -1);
}

TEST(PlanEncoderTest, OpsKeepTheirOrderAndFields) {
  core::StepPlan plan = PlanAt(1, 2);
  plan.binds.resize(1);
  plan.ops = {{.kind = core::OpKind::kUnbind, .lane = 0},
              {.kind = core::OpKind::kAppend, .lane = 4, .a = 100, .b = 1},
              {.kind = core::OpKind::kAppend, .lane = 5, .a = 200, .b = 3},
              {.kind = core::OpKind::kCopy, .a = 11, .b = 12},
              {.kind = core::OpKind::kSet, .lane = 6, .a = 2, .b = 12},
              {.kind = core::OpKind::kTruncate, .lane = 7, .a = 33},
              {.kind = core::OpKind::kFork, .lane = 8, .a = 7, .bind = 0}};
  const v1::Plan parsed = RoundTrip(plan);
  ASSERT_EQ(parsed.ops_size(), 7);
  EXPECT_TRUE(parsed.ops(0).has_unbind());
  EXPECT_EQ(parsed.ops(0).unbind().lane(), 0u);
  EXPECT_EQ(parsed.ops(1).append().first(), 100u);
  EXPECT_EQ(parsed.ops(1).append().count(), 0u) << "one block is the default";
  EXPECT_EQ(parsed.ops(2).append().lane(), 5u);
  EXPECT_EQ(parsed.ops(2).append().count(), 3u);
  EXPECT_EQ(parsed.ops(3).copy().src(), 11u);
  EXPECT_EQ(parsed.ops(3).copy().dst(), 12u);
  EXPECT_EQ(parsed.ops(4).set().index(), 2u);
  EXPECT_EQ(parsed.ops(4).set().block(), 12u);
  EXPECT_EQ(parsed.ops(5).truncate().tokens(), 33u);
  EXPECT_EQ(parsed.ops(6).fork().source(), 7u);
  EXPECT_EQ(parsed.ops(6).fork().lane(), 8u);
}

TEST(PlanEncoderTest, RowExceptionsAreChunksOrHolds) {
  core::StepPlan plan = PlanAt(1, 2);
  plan.rows = {{.lane = 0, .tokens = 512}, {.lane = 3, .tokens = 0}};
  const v1::Plan parsed = RoundTrip(plan);
  ASSERT_EQ(parsed.rows_size(), 2);
  EXPECT_EQ(parsed.rows(0).chunk(), 512u);
  EXPECT_EQ(parsed.rows(1).lane(), 3u);
  EXPECT_TRUE(parsed.rows(1).hold());
}

}  // namespace
}  // namespace pagoda
