#include "tests/e2e/streams.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>

#include "absl/strings/str_cat.h"

namespace pagoda::e2e {
namespace {

constexpr const char* kQuestions[] = {"What is PagedAttention?",
                                      "What is the capital of Cameroon?",
                                      "What is 17 plus 25?",
                                      "Count down from 12 to 3.",
                                      "Tell me a story about a frog and an apple."};

std::vector<float> Values(const std::vector<TokenLogprob>& logprobs) {
  std::vector<float> values;
  for (const TokenLogprob& logprob : logprobs) {
    values.push_back(logprob.logprob);
    for (const TokenLogprob& top : logprob.top) values.push_back(top.logprob);
  }
  return values;
}

}  // namespace

std::vector<GenerateRequest> SampledRequests(size_t count, uint32_t tokens) {
  std::vector<GenerateRequest> requests;
  for (size_t i = 0; i < count; ++i) {
    requests.push_back({.prompt = absl::StrCat("<|im_start|>user\n",
                                               kQuestions[i % std::size(kQuestions)],
                                               "<|im_end|>\n<|im_start|>assistant\n"),
                        .temperature = 1,
                        .seed = 1000 + i,
                        .max_tokens = tokens,
                        .logprobs = 1,
                        .ignore_eos = true,
                        .return_token_ids = true});
  }
  return requests;
}

std::vector<absl::StatusOr<Completion>> RunAll(
    Client* client,
    const std::vector<GenerateRequest>& requests,
    const std::function<void(size_t index, const Delta& delta)>& on_delta) {
  std::vector<absl::StatusOr<Completion>> completions(requests.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < requests.size(); ++i) {
    threads.emplace_back([&, i] {
      completions[i] = client->Generate(requests[i], [&, i](const Delta& delta) {
        if (on_delta != nullptr) on_delta(i, delta);
      });
    });
  }
  for (std::thread& thread : threads) thread.join();
  return completions;
}

void ExpectSame(const std::vector<absl::StatusOr<Completion>>& got,
                const std::vector<absl::StatusOr<Completion>>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    SCOPED_TRACE(absl::StrCat("stream ", i));
    ASSERT_TRUE(got[i].ok()) << got[i].status();
    ASSERT_TRUE(want[i].ok()) << want[i].status();
    const Completion::Choice& a = got[i]->choices.at(0);
    const Completion::Choice& b = want[i]->choices.at(0);
    EXPECT_EQ(a.text, b.text);
    EXPECT_EQ(a.token_ids, b.token_ids);
    EXPECT_EQ(Values(a.logprobs), Values(b.logprobs));
    EXPECT_EQ(a.reason, b.reason);
    EXPECT_EQ(a.completion_tokens, b.completion_tokens);
    EXPECT_EQ(got[i]->accepted.system_fingerprint, want[i]->accepted.system_fingerprint);
  }
}

}  // namespace pagoda::e2e
