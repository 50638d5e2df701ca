#include "worker/runner/plan_ops.h"

#include <gmock/gmock.h>
#include <google/protobuf/unknown_field_set.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "tests/testing/recording_backend.h"
#include "tests/worker/runner/plan_text.h"

namespace pagoda {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class PlanOpsTest : public ::testing::Test {
 protected:
  absl::Status Apply(const std::string& text) { return ops_.Apply(ParsePlan(text)); }

  void ExpectRefused(const std::string& text, absl::StatusCode code, const std::string& message) {
    const absl::Status status = Apply(text);
    EXPECT_EQ(status.code(), code) << text << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
  void ExpectInvalid(const std::string& text, const std::string& message) {
    ExpectRefused(text, absl::StatusCode::kInvalidArgument, message);
  }
  void ExpectUnimplemented(const std::string& text, const std::string& message) {
    ExpectRefused(text, absl::StatusCode::kUnimplemented, message);
  }

  Lanes lanes_{
      {.max_lanes = 4, .max_model_len = 64, .block_size = 8, .num_blocks = 10, .vocab_size = 100}};
  testing::RecordingBackend backend_;
  testing::RecordingPool pool_;
  PlanOps ops_{lanes_, backend_, pool_};
};

TEST_F(PlanOpsTest, BindPutsTheLastTokenOnTheDevice) {
  ASSERT_TRUE(Apply("ops { bind { lane: 1 tokens: [4, 5, 6] prompt_tokens: 3 } }").ok());
  EXPECT_THAT(lanes_.lane(1).history, ElementsAre(4, 5, 6));
  EXPECT_THAT(backend_.calls, ElementsAre("token 1=6"));
}

TEST_F(PlanOpsTest, SamplingFieldsReachTheLane) {
  ASSERT_TRUE(Apply(R"(ops { bind { lane: 0 tokens: 1 sampling {
      temperature: 0.7 top_p: 0.9 top_k: 40 min_p: 0.1 seed: 99 sequence_index: 2 logprobs: 5
      repetition_penalty: 1 } } })")
                  .ok());
  const LaneSampling& sampling = lanes_.lane(0).sampling;
  EXPECT_EQ(sampling.params.temperature, 0.7f);
  EXPECT_EQ(sampling.params.top_p, 0.9f);
  EXPECT_EQ(sampling.params.top_k, 40);
  EXPECT_EQ(sampling.params.min_p, 0.1f);
  EXPECT_EQ(sampling.params.seed, 99u);
  EXPECT_EQ(sampling.params.logprobs, 5);
  EXPECT_EQ(sampling.sequence_index, 2);
}

TEST_F(PlanOpsTest, AnUnsetTopPIsOne) {
  ASSERT_TRUE(Apply("ops { bind { lane: 0 tokens: 1 } }").ok());
  EXPECT_EQ(lanes_.lane(0).sampling.params.top_p, 1.0f);
}

TEST_F(PlanOpsTest, OpsHappenInTheirOrder) {
  ASSERT_TRUE(Apply(R"(
      ops { bind { lane: 0 tokens: [1, 2] } }
      ops { append { lane: 0 first: 3 } }
      ops { append { lane: 0 first: 6 count: 2 } }
      ops { copy { src: 3 dst: 9 } }
      ops { set { lane: 0 index: 0 block: 9 } }
      ops { zero { first: 3 count: 2 } }
      ops { zero { first: 10 } }
      ops { move { src: 7 dst: 3 } }
      ops { fork { source: 0 lane: 2 } }
      ops { truncate { lane: 0 tokens: 1 } }
      ops { unbind { lane: 2 } })")
                  .ok());
  EXPECT_THAT(backend_.calls,
              ElementsAre("token 0=2",
                          "copy 3>9",
                          "zero 3 4",
                          "zero 10",
                          "copy 7>3",
                          "lane 2<-0",
                          "token 0=1"));
  EXPECT_THAT(lanes_.lane(0).blocks, ElementsAre(9));
  EXPECT_THAT(lanes_.bound(), ElementsAre(0));
}

TEST_F(PlanOpsTest, AnErrorNamesTheOp) {
  ExpectInvalid("ops { bind { lane: 0 tokens: 1 } } ops { bind { lane: 0 tokens: 1 } }",
                "op 1 (bind): lane 0 is bound already");
  ExpectInvalid("ops { unbind { lane: 3 } }", "op 0 (unbind): lane 3 is not bound");
}

TEST_F(PlanOpsTest, BlockOpsRefuseBlocksThatAreNotThere) {
  ExpectInvalid("ops { copy { src: 0 dst: 1 } }", "block 0: blocks are 1 to 10");
  ExpectInvalid("ops { copy { src: 1 dst: 11 } }", "block 11: blocks are 1 to 10");
  ExpectInvalid("ops { copy { src: 2 dst: 2 } }", "block 2 onto itself");
  ExpectInvalid("ops { move { src: 1 dst: 0 } }", "block 0");
  ExpectInvalid("ops { zero { first: 0 } }", "block 0");
  ExpectInvalid("ops { zero { first: 9 count: 3 } }", "block 11");
  ExpectInvalid("ops { zero { first: 2 count: 4294967295 } }", "4294967295 blocks from 2");
  EXPECT_THAT(backend_.calls, IsEmpty());
}

TEST_F(PlanOpsTest, WhatIsNotBuiltIsRefusedByName) {
  ExpectUnimplemented("ops { transfer { id: 1 } }", "op 0 (transfer)");
  ExpectUnimplemented("ops { }", "op 0 (unknown)");
  ExpectUnimplemented("ops { zero { first: 1 kv_group: 1 } }", "kv_group 1");
  ExpectUnimplemented("ops { copy { src: 1 dst: 2 kv_group: 1 } }", "kv_group 1");
  ExpectUnimplemented("ops { append { lane: 0 first: 1 kv_group: 2 } }", "kv_group 2");
  ExpectUnimplemented("ops { set { lane: 0 block: 1 kv_group: 1 } }", "kv_group 1");
  const std::pair<const char*, const char*> fields[] = {
      {"presence_penalty: 0.5", "presence_penalty"},
      {"frequency_penalty: -0.5", "frequency_penalty"},
      {"repetition_penalty: 1.1", "repetition_penalty"},
      {"min_tokens: 3", "min_tokens"},
      {"stop_ids: 3", "stop_ids"},
      {"logit_bias { key: 3 value: 1 }", "logit_bias"},
      {"masked: true", "masked"},
  };
  for (const auto& [field, name] : fields) {
    ExpectUnimplemented(absl::StrCat("ops { bind { lane: 0 tokens: 1 sampling { ", field, " } } }"),
                        absl::StrCat("sampling.", name, " is not built yet"));
  }
}

TEST_F(PlanOpsTest, SamplingOutOfRangeIsRefused) {
  const std::pair<const char*, const char*> fields[] = {
      {"temperature: -1", "temperature"},
      {"temperature: nan", "temperature"},
      {"temperature: inf", "temperature"},
      {"top_p: 1.5", "top_p"},
      {"top_p: nan", "top_p"},
      {"top_p: -0.1", "top_p"},
      {"min_p: 1.1", "min_p"},
      {"min_p: nan", "min_p"},
      {"logprobs: -2", "logprobs"},
      {"logprobs: 101", "logprobs"},
      {"sequence_index: 4294967295", "sequence_index"},
  };
  ASSERT_TRUE(Apply("ops { bind { lane: 0 tokens: 1 } }").ok());
  for (const auto& [field, name] : fields) {
    ExpectInvalid(absl::StrCat("ops { bind { lane: 1 tokens: 1 sampling { ", field, " } } }"),
                  absl::StrCat("sampling.", name));
    ExpectInvalid(absl::StrCat("ops { fork { source: 0 lane: 1 sampling { ", field, " } } }"),
                  absl::StrCat("sampling.", name));
  }
}

// A field number that no message of today has.
constexpr int kNewField = 900;

TEST(UnknownFieldsTest, AnyPlaceIsSeen) {
  const std::string text = R"(
      epoch: 1
      ops { bind { lane: 0 tokens: 1 sampling { seed: 4 } } }
      ops { fork { source: 0 lane: 1 sampling { seed: 4 } } }
      rows { lane: 0 chunk: 1 })";
  EXPECT_TRUE(CheckNoUnknownFields(ParsePlan(text)).ok());
  const auto refused = [&](auto message_of, const std::string& name) {
    v1::Plan plan = ParsePlan(text);
    google::protobuf::Message* message = message_of(&plan);
    message->GetReflection()->MutableUnknownFields(message)->AddVarint(kNewField, 1);
    v1::Plan parsed;
    ASSERT_TRUE(parsed.ParseFromString(plan.SerializeAsString()));
    const absl::Status status = CheckNoUnknownFields(parsed);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
    EXPECT_EQ(status.message(), absl::StrCat("field 900 of ", name, " is unknown to this worker"));
  };
  refused([](v1::Plan* plan) { return plan; }, "Plan");
  refused([](v1::Plan* plan) { return plan->mutable_ops(0); }, "Op");
  refused([](v1::Plan* plan) { return plan->mutable_ops(0)->mutable_bind(); }, "Bind");
  refused([](v1::Plan* plan) { return plan->mutable_ops(0)->mutable_bind()->mutable_sampling(); },
          "SamplingParams");
  refused([](v1::Plan* plan) { return plan->mutable_ops(1)->mutable_fork()->mutable_sampling(); },
          "SamplingParams");
  refused([](v1::Plan* plan) { return plan->mutable_rows(0); }, "RowException");
}

TEST(UnknownFieldsTest, AnUnknownOpIsNamedByItsNumber) {
  v1::Plan plan;
  v1::Op* op = plan.add_ops();
  op->GetReflection()->MutableUnknownFields(op)->AddLengthDelimited(11, "");
  const absl::Status status = CheckNoUnknownFields(plan);
  EXPECT_EQ(status.message(), "field 11 of Op is unknown to this worker");
}

}  // namespace
}  // namespace pagoda
