#include "client/cpp/messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pagoda::client_internal {
namespace {

using ::testing::ElementsAre;

TEST(Messages, WhatIsUnsetStaysUnset) {
  v1::GenerateRequest to;
  ASSERT_TRUE(ToProto({.prompt = "p"}, &to).ok());
  v1::GenerateRequest expected;
  expected.set_text("p");
  expected.mutable_sampling();
  EXPECT_EQ(to.SerializeAsString(), expected.SerializeAsString());
}

TEST(Messages, EveryFieldOfARequestArrives) {
  v1::GenerateRequest to;
  ASSERT_TRUE(ToProto({.prompt = std::vector<uint32_t>{1, 2},
                       .temperature = 0.5f,
                       .top_p = 0.25f,
                       .top_k = -1,
                       .min_p = 0.125f,
                       .seed = ~uint64_t{0},
                       .max_tokens = 7,
                       .n = 2,
                       .logprobs = 0,
                       .stop = {"a", "b"},
                       .stop_token_ids = {3},
                       .ignore_eos = true,
                       .return_token_ids = true},
                      &to)
                  .ok());
  EXPECT_THAT(to.token_ids().ids(), ElementsAre(1, 2));
  EXPECT_EQ(to.sampling().temperature(), 0.5f);
  EXPECT_EQ(to.sampling().top_p(), 0.25f);
  EXPECT_EQ(to.sampling().top_k(), -1);
  EXPECT_EQ(to.sampling().min_p(), 0.125f);
  EXPECT_EQ(to.sampling().seed(), ~uint64_t{0});
  EXPECT_EQ(to.max_tokens(), 7u);
  EXPECT_EQ(to.n(), 2u);
  EXPECT_TRUE(to.has_logprobs());
  EXPECT_THAT(to.stop(), ElementsAre("a", "b"));
  EXPECT_THAT(to.stop_token_ids(), ElementsAre(3));
  EXPECT_TRUE(to.ignore_eos());
  EXPECT_TRUE(to.return_token_ids());
}

TEST(Messages, LogprobsKeepTheirAlternatives) {
  v1::GenerateResponse from;
  v1::TokenLogprob* logprob = from.mutable_delta()->add_logprobs();
  logprob->set_token(4);
  logprob->set_logprob(-1);
  logprob->set_text("d");
  v1::TokenLogprob::Top* top = logprob->add_top();
  top->set_token(5);
  top->set_logprob(-2);
  top->set_text("e");
  const std::optional<Event> event = FromProto(from);
  ASSERT_TRUE(event.has_value());
  const Delta& delta = std::get<Delta>(*event);
  ASSERT_EQ(delta.logprobs.size(), 1u);
  EXPECT_EQ(delta.logprobs[0].text, "d");
  ASSERT_EQ(delta.logprobs[0].top.size(), 1u);
  EXPECT_EQ(delta.logprobs[0].top[0].token, 5u);
  EXPECT_EQ(delta.logprobs[0].top[0].logprob, -2);
  EXPECT_EQ(delta.logprobs[0].top[0].text, "e");
}

TEST(Messages, AnUnknownEventIsPassedOver) {
  EXPECT_FALSE(FromProto(v1::GenerateResponse()).has_value());
}

TEST(Messages, FinishReasonsHaveTheirNames) {
  EXPECT_EQ(FinishReasonName(FinishReason::kStop), "stop");
  EXPECT_EQ(FinishReasonName(FinishReason::kLength), "length");
  EXPECT_EQ(FinishReasonName(FinishReason::kCancelled), "cancelled");
}

}  // namespace
}  // namespace pagoda::client_internal
