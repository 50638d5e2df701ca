#include "client/cli/completion_json.h"

#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

namespace pagoda {
namespace {

Completion MakeCompletion() {
  Completion completion;
  completion.accepted = {.id = "req-1",
                         .prompt_tokens = 3,
                         .seed = 7,
                         .model = "demo",
                         .system_fingerprint = "fp"};
  completion.choices = {{.text = "Yaoundé\n\"x\"",
                         .token_ids = {5, 2028},
                         .reason = FinishReason::kStop,
                         .completion_tokens = 2}};
  completion.prompt_tokens = 3;
  completion.completion_tokens = 2;
  return completion;
}

TEST(CompletionJson, HasTheShapeOfOpenAisCompletions) {
  EXPECT_EQ(CompletionJson(MakeCompletion(), /*with_logprobs=*/false),
            R"({"id":"req-1","object":"text_completion","model":"demo","choices":[{"index":0,)"
            R"("text":"Yaoundé\n\"x\"","token_ids":[5,2028],"finish_reason":"stop",)"
            R"("logprobs":null}],"usage":{"prompt_tokens":3,"completion_tokens":2,)"
            R"("total_tokens":5},"seed":7,"system_fingerprint":"fp"})");
}

TEST(CompletionJson, LogprobsListTokensValuesAndAlternatives) {
  Completion completion = MakeCompletion();
  completion.choices[0].logprobs = {
      {.token = 5,
       .logprob = -0.1f,
       .text = "a",
       .top = {{.token = 5, .logprob = -0.1f, .text = "a"},
               {.token = 6, .logprob = -2, .text = "\xEF\xBF\xBD"},
               {.token = 7, .logprob = -3, .text = "\xEF\xBF\xBD"}}},
      {.token = 2028, .logprob = -std::numeric_limits<float>::infinity(), .text = "b"}};
  const std::string json = CompletionJson(completion, /*with_logprobs=*/true);
  EXPECT_NE(json.find(R"("logprobs":{"tokens":["a","b"],"token_logprobs":[-0.100000001,null],)"
                      "\"top_logprobs\":[{\"a\":-0.100000001,\"\xEF\xBF\xBD\":-2,\"token_id:7\":-3}"
                      ",{}]}"),
            std::string::npos)
      << json;
}

TEST(CompletionJson, AnyTextIsOneLineOfValidJson) {
  Completion completion = MakeCompletion();
  std::string& text = completion.choices[0].text;
  text.clear();
  for (int c = 0; c < 128; ++c) text += static_cast<char>(c);
  text += "\xE2\x80\xA8 \xF0\x9F\x90\xB8";
  const std::string json = CompletionJson(completion, /*with_logprobs=*/true);
  EXPECT_EQ(json.find('\n'), std::string::npos);
  const auto parsed = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  ASSERT_FALSE(parsed.is_discarded()) << json;
  EXPECT_EQ(parsed["choices"][0]["text"].get<std::string>(), text);
}

}  // namespace
}  // namespace pagoda
