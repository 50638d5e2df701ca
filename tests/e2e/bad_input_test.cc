// Requests that cannot be: each is refused with its code and the limit, and the server goes on.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/pagoda/v1/inference.grpc.pb.h"
#include "tests/e2e/serve.h"

namespace pagoda::e2e {
namespace {

using ::testing::HasSubstr;

struct BadRequest {
  std::string name;
  GenerateRequest request;
  absl::StatusCode code;
  std::string message;  // is in it
};

GenerateRequest Good() {
  return {.prompt = "Hello", .temperature = 0, .max_tokens = 4, .ignore_eos = true};
}

template <class Set>
GenerateRequest With(Set set) {
  GenerateRequest request = Good();
  set(request);
  return request;
}

std::vector<BadRequest> BadRequests() {
  constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInf = std::numeric_limits<float>::infinity();
  constexpr uint32_t kHuge = std::numeric_limits<uint32_t>::max();
  const std::string ten_mb(10 << 20, 'x');
  return {
      {"empty prompt", With([](auto& r) { r.prompt = ""; }), kInvalid, "the prompt is empty"},
      {"no token ids",
       With([](auto& r) { r.prompt = std::vector<uint32_t>(); }),
       kInvalid,
       "the prompt is empty"},
      {"10 MB prompt",
       With([&](auto& r) { r.prompt = ten_mb; }),
       kInvalid,
       "bytes; the limit is 8388608"},
      {"prompt over the context",
       With([](auto& r) { r.prompt = std::vector<uint32_t>(1025, 300); }),
       kInvalid,
       "1025 tokens; the limit is 1024"},
      {"prompt text over the context",
       With([](auto& r) { r.prompt = std::string(20000, '7'); }),
       kInvalid,
       "tokens; the context of 1024"},
      {"prompt and output over the context",
       With([](auto& r) {
         r.prompt = std::vector<uint32_t>(1000, 300);
         r.max_tokens = 100;
       }),
       kInvalid,
       "1024"},
      {"token id outside the vocabulary",
       With([](auto& r) {
         r.prompt = std::vector<uint32_t>{1, 2048};
       }),
       kInvalid,
       "token id 2048; the vocabulary has 2048"},
      {"huge token id",
       With([&](auto& r) { r.prompt = std::vector<uint32_t>{kHuge}; }),
       kInvalid,
       "the vocabulary has 2048"},
      {"stop token outside the vocabulary",
       With([](auto& r) { r.stop_token_ids = {2048}; }),
       kInvalid,
       "the vocabulary has 2048"},
      {"129 stop tokens",
       With([](auto& r) { r.stop_token_ids = std::vector<uint32_t>(129, 1); }),
       kInvalid,
       "the limit is 128"},
      {"17 stop strings",
       With([](auto& r) { r.stop = std::vector<std::string>(17, "a"); }),
       kInvalid,
       "16"},
      {"long stop string",
       With([](auto& r) { r.stop = {std::string(1025, 'a')}; }),
       kInvalid,
       "1024"},
      {"NaN temperature",
       With([&](auto& r) { r.temperature = kNan; }),
       kInvalid,
       "temperature is nan; it must be finite and at least 0"},
      {"infinite temperature",
       With([&](auto& r) { r.temperature = kInf; }),
       kInvalid,
       "must be finite"},
      {"negative temperature",
       With([](auto& r) { r.temperature = -1.0f; }),
       kInvalid,
       "at least 0"},
      {"top_p 0", With([](auto& r) { r.top_p = 0.0f; }), kInvalid, "(0, 1]"},
      {"top_p over 1", With([](auto& r) { r.top_p = 1.5f; }), kInvalid, "(0, 1]"},
      {"NaN top_p", With([&](auto& r) { r.top_p = kNan; }), kInvalid, "(0, 1]"},
      {"top_k -2", With([](auto& r) { r.top_k = -2; }), kInvalid, "at least -1"},
      {"min_p over 1", With([](auto& r) { r.min_p = 1.5f; }), kInvalid, "[0, 1]"},
      {"21 logprobs", With([](auto& r) { r.logprobs = 21; }), kInvalid, "at most 20"},
      {"max_tokens 0", With([](auto& r) { r.max_tokens = 0; }), kInvalid, "in [1, 1024]"},
      // What a negative number looks like in an unsigned field.
      {"huge max_tokens", With([&](auto& r) { r.max_tokens = kHuge; }), kInvalid, "in [1, 1024]"},
      {"n 0", With([](auto& r) { r.n = 0; }), kInvalid, "n is 0"},
      {"huge n", With([&](auto& r) { r.n = kHuge; }), absl::StatusCode::kUnimplemented, "'n'"},
      {"more than the pool holds",
       With([](auto& r) { r.max_tokens = 1000; }),
       kInvalid,
       "can never fit the KV pool of 512 tokens"},
  };
}

class BadInputTest : public ::testing::Test {
 protected:
  // The server goes on, with the same worker, and answers as before.
  void ExpectServing() {
    const auto answer = client_->Generate(Good());
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(answer->choices.at(0).text, first_->choices.at(0).text);
    EXPECT_EQ(serve_.workers_started(), 1);
  }

  Serve serve_{{"--num-gpu-blocks-override=32"}};
  std::unique_ptr<Client> client_ = serve_.Connect();
  absl::StatusOr<Completion> first_ = client_->Generate(Good());
};

TEST_F(BadInputTest, EachBadRequestIsRefusedWithItsLimit) {
  ASSERT_TRUE(first_.ok()) << first_.status();
  for (const BadRequest& bad : BadRequests()) {
    SCOPED_TRACE(bad.name);
    const absl::Status status = client_->Generate(bad.request).status();
    EXPECT_EQ(status.code(), bad.code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(bad.message));
  }
  ExpectServing();
}

// Below, messages that our client would not send.
class RawTest : public BadInputTest {
 protected:
  grpc::Status Generate(const v1::GenerateRequest& request) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    const auto reader = stub_->Generate(&context, request);
    v1::GenerateResponse response;
    while (reader->Read(&response)) {
    }
    return reader->Finish();
  }

  std::unique_ptr<v1::Inference::Stub> stub_ = v1::Inference::NewStub(
      grpc::CreateChannel(serve_.address(), grpc::InsecureChannelCredentials()));
};

TEST_F(RawTest, InvalidUtf8IsRejectedBeforeOurCode) {
  v1::GenerateRequest request;
  request.set_text("a\xFF");
  const grpc::Status status = Generate(request);
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(status.error_message(), "");
  v1::TokenizeRequest tokenize;
  tokenize.set_text("a\xFF");
  grpc::ClientContext context;
  v1::TokenizeResponse response;
  EXPECT_FALSE(stub_->Tokenize(&context, tokenize, &response).ok());
  ExpectServing();
}

TEST_F(RawTest, AMessageOverTheLimitIsRefused) {
  v1::GenerateRequest request;
  request.set_text(std::string(65 << 20, 'x'));
  EXPECT_EQ(Generate(request).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  ExpectServing();
}

TEST_F(RawTest, FieldsThatAreNotBuiltAreRefusedByName) {
  std::vector<std::pair<std::string, v1::GenerateRequest>> requests;
  const auto add = [&requests](const std::string& name, auto set) {
    requests.emplace_back(name, v1::GenerateRequest()).second.set_text("Hello");
    set(&requests.back().second);
  };
  add("n", [](auto* r) { r->set_n(2); });
  add("priority", [](auto* r) { r->set_priority(-1); });
  add("tenant", [](auto* r) { r->set_tenant("a"); });
  add("resume_grace", [](auto* r) { r->mutable_resume_grace()->set_seconds(1); });
  add("presence_penalty", [](auto* r) { r->mutable_sampling()->set_presence_penalty(1); });
  add("frequency_penalty", [](auto* r) { r->mutable_sampling()->set_frequency_penalty(1); });
  add("repetition_penalty", [](auto* r) { r->mutable_sampling()->set_repetition_penalty(2); });
  add("min_tokens", [](auto* r) { r->mutable_sampling()->set_min_tokens(1); });
  add("logit_bias", [](auto* r) { (*r->mutable_sampling()->mutable_logit_bias())[1] = 1; });
  for (const auto& [name, request] : requests) {
    const grpc::Status status = Generate(request);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED) << name;
    EXPECT_THAT(status.error_message(), HasSubstr(absl::StrCat("'", name, "'")));
  }
  grpc::ClientContext context;
  v1::ResumeRequest resume;
  v1::GenerateResponse response;
  const auto reader = stub_->Resume(&context, resume);
  while (reader->Read(&response)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNIMPLEMENTED);
  ExpectServing();
}

TEST_F(RawTest, WhatHasNoPromptOrAnotherModelIsRefused) {
  EXPECT_EQ(Generate(v1::GenerateRequest()).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  v1::GenerateRequest request;
  request.set_text("Hello");
  request.set_model("other");
  const grpc::Status status = Generate(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(status.error_message(), HasSubstr("this server has 'demo'"));
  ExpectServing();
}

TEST_F(RawTest, CancelKnowsGoodIdsFromBad) {
  EXPECT_EQ(client_->Cancel("x").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(client_->Cancel("req-0123456789abcdef").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(client_->Cancel(first_->accepted.id).code(), absl::StatusCode::kNotFound);
  auto generation = client_->Start(With([](auto& r) { r.max_tokens = 400; }));
  ASSERT_TRUE(generation.ok());
  const std::optional<Event> event = (*generation)->Next();
  ASSERT_TRUE(event.has_value());
  EXPECT_EQ(client_->Cancel(std::get<Accepted>(*event).id), absl::OkStatus());
  FinishReason reason = FinishReason::kUnknown;
  while (const std::optional<Event> next = (*generation)->Next()) {
    if (const auto* finished = std::get_if<Finished>(&*next)) reason = finished->choices[0].reason;
  }
  const bool cancelled = reason == FinishReason::kCancelled ||
                         (*generation)->status().code() == absl::StatusCode::kCancelled;
  EXPECT_TRUE(cancelled) << (*generation)->status();
  ExpectServing();
}

}  // namespace
}  // namespace pagoda::e2e
