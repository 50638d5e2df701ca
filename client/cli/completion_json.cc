#include "client/cli/completion_json.h"

#include <cmath>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/escape.h"

namespace pagoda {
namespace {

std::string Number(float value) {
  return std::isfinite(value) ? absl::StrFormat("%.9g", value) : "null";  // JSON has no infinity
}

std::string Array(const std::vector<std::string>& values) {
  return absl::StrCat("[", absl::StrJoin(values, ","), "]");
}

// {text: logprob}; a text that is taken (half a character looks like another half) goes by its id.
std::string TopObject(const TokenLogprob& logprob) {
  std::set<std::string> taken;
  std::vector<std::string> members;
  for (const TokenLogprob& top : logprob.top) {
    const bool fresh = taken.insert(top.text).second;
    const std::string name = fresh ? top.text : absl::StrCat("token_id:", top.token);
    members.push_back(absl::StrCat(JsonQuote(name), ":", Number(top.logprob)));
  }
  return absl::StrCat("{", absl::StrJoin(members, ","), "}");
}

std::string Logprobs(const std::vector<TokenLogprob>& logprobs) {
  std::vector<std::string> tokens, values, tops;
  for (const TokenLogprob& logprob : logprobs) {
    tokens.push_back(JsonQuote(logprob.text));
    values.push_back(Number(logprob.logprob));
    tops.push_back(TopObject(logprob));
  }
  return absl::StrCat("{\"tokens\":",
                      Array(tokens),
                      ",\"token_logprobs\":",
                      Array(values),
                      ",\"top_logprobs\":",
                      Array(tops),
                      "}");
}

std::string ChoiceObject(size_t index, const Completion::Choice& choice, bool with_logprobs) {
  return absl::StrCat("{\"index\":",
                      index,
                      ",\"text\":",
                      JsonQuote(choice.text),
                      ",\"token_ids\":[",
                      absl::StrJoin(choice.token_ids, ","),
                      "],\"finish_reason\":",
                      JsonQuote(FinishReasonName(choice.reason)),
                      ",\"logprobs\":",
                      with_logprobs ? Logprobs(choice.logprobs) : "null",
                      "}");
}

}  // namespace

std::string CompletionJson(const Completion& completion, bool with_logprobs) {
  std::vector<std::string> choices;
  choices.reserve(completion.choices.size());
  for (const Completion::Choice& choice : completion.choices) {
    choices.push_back(ChoiceObject(choices.size(), choice, with_logprobs));
  }
  return absl::StrCat("{\"id\":",
                      JsonQuote(completion.accepted.id),
                      ",\"object\":\"text_completion\",\"model\":",
                      JsonQuote(completion.accepted.model),
                      ",\"choices\":",
                      Array(choices),
                      ",\"usage\":{\"prompt_tokens\":",
                      completion.prompt_tokens,
                      ",\"completion_tokens\":",
                      completion.completion_tokens,
                      ",\"total_tokens\":",
                      completion.prompt_tokens + completion.completion_tokens,
                      "},\"seed\":",
                      completion.accepted.seed,
                      ",\"system_fingerprint\":",
                      JsonQuote(completion.accepted.system_fingerprint),
                      "}");
}

}  // namespace pagoda
