#include "coordinator/api/valid_request.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "coordinator/text/stop_matcher.h"

namespace pagoda {
namespace {

absl::Status OutOfRange(absl::string_view name, double got, absl::string_view limit) {
  return absl::InvalidArgumentError(absl::StrCat(name, " is ", got, "; it must be ", limit));
}

absl::Status CheckToken(absl::string_view name, uint32_t token, const ServedModel& model) {
  if (token < model.vocab_size) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name,
                                                 " has token id ",
                                                 token,
                                                 "; the vocabulary has ",
                                                 model.vocab_size,
                                                 " ids"));
}

absl::StatusOr<core::SamplingParams> ParseSampling(const GenerateParams& params,
                                                   const ServedModel& model) {
  core::SamplingParams sampling;
  sampling.temperature = params.temperature.value_or(model.temperature.value_or(1));
  sampling.top_p = params.top_p.value_or(model.top_p.value_or(1));
  sampling.top_k = params.top_k.value_or(model.top_k.value_or(0));
  sampling.min_p = params.min_p.value_or(model.min_p.value_or(0));
  if (!std::isfinite(sampling.temperature) || sampling.temperature < 0) {
    return OutOfRange("temperature", sampling.temperature, "finite and at least 0");
  }
  if (!(sampling.top_p > 0 && sampling.top_p <= 1)) {
    return OutOfRange("top_p", sampling.top_p, "in (0, 1]");
  }
  if (sampling.top_k < -1) return OutOfRange("top_k", sampling.top_k, "at least -1");
  if (!(sampling.min_p >= 0 && sampling.min_p <= 1)) {
    return OutOfRange("min_p", sampling.min_p, "in [0, 1]");
  }
  sampling.top_k = std::max(sampling.top_k, 0);
  const uint32_t logprobs = params.logprobs.value_or(0);
  const uint32_t most = std::min(kMaxLogprobs, model.vocab_size);
  if (logprobs > most) return OutOfRange("logprobs", logprobs, absl::StrCat("at most ", most));
  sampling.logprobs = params.logprobs.has_value() ? static_cast<int32_t>(logprobs) : -1;
  return sampling;
}

// Prompts of more bytes than this cannot fit the context: no token stands for more than 256 bytes
// on average.
uint64_t MaxPromptBytes(const ServedModel& model) {
  return std::min<uint64_t>(kMaxPromptBytes, uint64_t{model.capacity.max_model_len} * 256);
}

absl::Status CheckText(const std::string& text, const ServedModel& model) {
  if (text.empty()) return absl::InvalidArgumentError("the prompt is empty");
  if (text.size() > MaxPromptBytes(model)) {
    return absl::InvalidArgumentError(absl::StrCat("the prompt has ",
                                                   text.size(),
                                                   " bytes; the limit is ",
                                                   MaxPromptBytes(model)));
  }
  return absl::OkStatus();
}

absl::Status CheckIds(const std::vector<uint32_t>& ids, const ServedModel& model) {
  if (ids.empty()) return absl::InvalidArgumentError("the prompt is empty");
  if (ids.size() > model.capacity.max_model_len) {
    return absl::InvalidArgumentError(absl::StrCat("the prompt has ",
                                                   ids.size(),
                                                   " tokens; the limit is ",
                                                   model.capacity.max_model_len));
  }
  for (uint32_t id : ids) RETURN_IF_ERROR(CheckToken("the prompt", id, model));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int32_t>> ParseStopIds(const GenerateParams& params,
                                                  const ServedModel& model) {
  if (params.stop_token_ids.size() > kMaxStopTokenIds) {
    return absl::InvalidArgumentError(absl::StrCat("stop_token_ids has ",
                                                   params.stop_token_ids.size(),
                                                   " ids; the limit is ",
                                                   kMaxStopTokenIds));
  }
  std::vector<int32_t> ids;
  for (uint32_t id : params.stop_token_ids) {
    RETURN_IF_ERROR(CheckToken("stop_token_ids", id, model));
    ids.push_back(static_cast<int32_t>(id));
  }
  if (!params.ignore_eos) {
    ids.insert(ids.end(), model.eos_token_ids.begin(), model.eos_token_ids.end());
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

}  // namespace

absl::StatusOr<ValidRequest> Parse(GenerateParams params, const ServedModel& model) {
  ValidRequest request;
  ASSIGN_OR_RETURN(request.spec_.sampling, ParseSampling(params, model));
  ASSIGN_OR_RETURN(request.spec_.stop_token_ids, ParseStopIds(params, model));
  RETURN_IF_ERROR(ValidateStopStrings(params.stop));
  if (params.max_tokens.has_value()) {
    const uint32_t limit = model.capacity.max_model_len;
    if (*params.max_tokens == 0 || *params.max_tokens > limit) {
      return OutOfRange("max_tokens",
                        *params.max_tokens,
                        absl::StrCat("in [1, ", limit, "], the context's length"));
    }
  }
  if (const auto* ids = std::get_if<std::vector<uint32_t>>(&params.prompt)) {
    RETURN_IF_ERROR(CheckIds(*ids, model));
    request.prompt_ = std::vector<int32_t>(ids->begin(), ids->end());
  } else {
    std::string& text = std::get<std::string>(params.prompt);
    RETURN_IF_ERROR(CheckText(text, model));
    request.prompt_ = std::move(text);
  }
  request.stop_ = std::move(params.stop);
  request.seed_ = params.seed;
  request.max_tokens_ = params.max_tokens;
  request.spec_.deadline = params.deadline;
  return request;
}

}  // namespace pagoda
