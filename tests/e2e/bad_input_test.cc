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

constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();
// What a negative number looks like in an unsigned field.
constexpr uint32_t kHuge = std::numeric_limits<uint32_t>::max();

// Refused as INVALID_ARGUMENT.
template <class Prompt>
BadRequest BadPrompt(const std::string& name, const Prompt& prompt, const std::string& message) {
  return {name, With([&](auto& r) { r.prompt = prompt; }), kInvalid, message};
}

std::vector<BadRequest> BadPrompts() {
  using Ids = std::vector<uint32_t>;
  using Text = std::string;
  return {
      BadPrompt("empty", Text(), "the prompt is empty"),
      BadPrompt("no ids", Ids(), "the prompt is empty"),
      BadPrompt("10 MB", Text(10 << 20, 'x'), "bytes; the limit is 8388608"),
      BadPrompt("300 kB", Text(300000, 'x'), "300000 bytes; the limit is 262144"),
      BadPrompt("ids over the context", Ids(1025, 300), "1025 tokens; the limit is 1024"),
      BadPrompt("text over the context", Text(20000, '7'), "tokens; the context of 1024"),
      BadPrompt("unknown id", Ids{1, 2048}, "token id 2048; the vocabulary has 2048"),
      BadPrompt("huge id", Ids{kHuge}, "the vocabulary has 2048"),
  };
}

std::vector<BadRequest> BadTemperatures() {
  const auto bad = [](const std::string& name, auto set, const std::string& message) {
    return BadRequest{name, With(set), kInvalid, message};
  };
  const std::string temperature = "must be finite and at least 0";
  return {
      bad(
          "NaN temperature",
          [](auto& r) { r.temperature = kNan; },
          "temperature is nan"),
      bad(
          "NaN temperature's limit",
          [](auto& r) { r.temperature = kNan; },
          temperature),
      bad(
          "infinite temperature",
          [](auto& r) { r.temperature = kInf; },
          temperature),
      bad(
          "negative temperature",
          [](auto& r) { r.temperature = -1.0f; },
          temperature),
  };
}

std::vector<BadRequest> BadSampling() {
  const auto bad = [](const std::string& name, auto set, const std::string& message) {
    return BadRequest{name, With(set), kInvalid, message};
  };
  return {
      bad(
          "top_p 0",
          [](auto& r) { r.top_p = 0.0f; },
          "top_p is 0; it must be in (0, 1]"),
      bad(
          "top_p over 1",
          [](auto& r) { r.top_p = 1.5f; },
          "(0, 1]"),
      bad(
          "NaN top_p",
          [](auto& r) { r.top_p = kNan; },
          "(0, 1]"),
      bad(
          "top_k -2",
          [](auto& r) { r.top_k = -2; },
          "at least -1"),
      bad(
          "min_p over 1",
          [](auto& r) { r.min_p = 1.5f; },
          "[0, 1]"),
      bad(
          "NaN min_p",
          [](auto& r) { r.min_p = kNan; },
          "[0, 1]"),
      bad(
          "21 logprobs",
          [](auto& r) { r.logprobs = 21; },
          "at most 20"),
      bad(
          "huge logprobs",
          [](auto& r) { r.logprobs = kHuge; },
          "at most 20"),
  };
}

std::vector<BadRequest> BadStops() {
  const auto bad = [](const std::string& name, auto set, const std::string& message) {
    return BadRequest{name, With(set), kInvalid, message};
  };
  return {
      bad(
          "unknown stop id",
          [](auto& r) { r.stop_token_ids = {2048}; },
          "vocabulary has 2048"),
      bad(
          "129 stop ids",
          [](auto& r) { r.stop_token_ids.resize(129); },
          "the limit is 128"),
      bad(
          "17 stops",
          [](auto& r) { r.stop = std::vector<std::string>(17, "a"); },
          "16"),
      bad(
          "long stop",
          [](auto& r) { r.stop = {std::string(1025, 'a')}; },
          "1024"),
      bad(
          "empty stop",
          [](auto& r) { r.stop = {""}; },
          "stop"),
  };
}

std::vector<BadRequest> BadEnds() {
  const auto bad = [](const std::string& name, auto set, const std::string& message) {
    return BadRequest{name, With(set), kInvalid, message};
  };
  const std::vector<uint32_t> ids(1000, 300);
  std::vector<BadRequest> requests = {
      bad(
          "max_tokens 0",
          [](auto& r) { r.max_tokens = 0; },
          "in [1, 1024]"),
      bad(
          "huge max_tokens",
          [](auto& r) { r.max_tokens = kHuge; },
          "in [1, 1024]"),
      bad(
          "never in the pool",
          [](auto& r) { r.max_tokens = 999; },
          "the KV pool of 512 tokens"),
      bad(
          "over the context",
          [&](auto& r) {
            r.prompt = ids;
            r.max_tokens = 100;
          },
          "1024"),
      bad(
          "n 0",
          [](auto& r) { r.n = 0; },
          "n is 0; it must be at least 1"),
  };
  requests.push_back(
      {"huge n", With([](auto& r) { r.n = kHuge; }), absl::StatusCode::kUnimplemented, "'n'"});
  return requests;
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
  for (const auto& requests :
       {BadPrompts(), BadTemperatures(), BadSampling(), BadStops(), BadEnds()}) {
    for (const BadRequest& bad : requests) {
      SCOPED_TRACE(bad.name);
      const absl::Status status = client_->Generate(bad.request).status();
      EXPECT_EQ(status.code(), bad.code) << status;
      EXPECT_THAT(std::string(status.message()), HasSubstr(bad.message));
    }
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
