#include "client/cpp/messages.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/status.h"
#include "common/utf8.h"

namespace pagoda::client_internal {
namespace {

void SamplingToProto(const GenerateRequest& from, v1::SamplingParameters* to) {
  if (from.temperature) to->set_temperature(*from.temperature);
  if (from.top_p) to->set_top_p(*from.top_p);
  if (from.top_k) to->set_top_k(*from.top_k);
  if (from.min_p) to->set_min_p(*from.min_p);
  if (from.seed) to->set_seed(*from.seed);
}

// A token and one of its alternatives look alike.
template <class Message>
TokenLogprob OneLogprob(Message& from) {
  TokenLogprob to;
  to.token = from.token();
  to.logprob = from.logprob();
  to.text = std::move(*from.mutable_text());
  return to;
}

Accepted FromProto(v1::Accepted& from) {
  return {.id = std::move(*from.mutable_id()),
          .prompt_tokens = from.prompt_tokens(),
          .seed = from.seed(),
          .model = std::move(*from.mutable_model()),
          .system_fingerprint = std::move(*from.mutable_system_fingerprint())};
}

Delta FromProto(v1::Delta& from) {
  Delta to;
  to.index = from.index();
  to.token_offset = from.token_offset();
  to.num_tokens = from.num_tokens();
  to.text_offset = from.text_offset();
  to.text = std::move(*from.mutable_text());
  to.token_ids.assign(from.token_ids().begin(), from.token_ids().end());
  for (v1::TokenLogprob& logprob : *from.mutable_logprobs()) {
    to.logprobs.push_back(OneLogprob(logprob));
    for (v1::TokenLogprob::Top& top : *logprob.mutable_top()) {
      to.logprobs.back().top.push_back(OneLogprob(top));
    }
  }
  return to;
}

FinishReason FromProto(v1::FinishReason from) {
  switch (from) {
    case v1::FINISH_REASON_STOP:
      return FinishReason::kStop;
    case v1::FINISH_REASON_LENGTH:
      return FinishReason::kLength;
    case v1::FINISH_REASON_CANCELLED:
      return FinishReason::kCancelled;
    default:  // or of a newer server
      return FinishReason::kUnknown;
  }
}

Finished FromProto(const v1::Finished& from) {
  Finished to;
  for (const v1::Choice& choice : from.choices()) {
    to.choices.push_back({.index = choice.index(),
                          .reason = FromProto(choice.finish_reason()),
                          .completion_tokens = choice.completion_tokens()});
  }
  to.prompt_tokens = from.usage().prompt_tokens();
  to.completion_tokens = from.usage().completion_tokens();
  return to;
}

}  // namespace

absl::Status CheckUtf8(absl::string_view what, absl::string_view text) {
  const size_t valid = Utf8ValidPrefix(text);
  if (valid == text.size()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(what,
                   " is not UTF-8: ",
                   absl::StrFormat("byte 0x%02X", static_cast<uint8_t>(text[valid])),
                   " at offset ",
                   valid));
}

absl::Status ToProto(const GenerateRequest& from, v1::GenerateRequest* to) {
  if (const auto* text = std::get_if<std::string>(&from.prompt)) {
    RETURN_IF_ERROR(CheckUtf8("the prompt", *text));
    to->set_text(*text);
  } else {
    const auto& ids = std::get<std::vector<uint32_t>>(from.prompt);
    to->mutable_token_ids()->mutable_ids()->Assign(ids.begin(), ids.end());
  }
  for (const std::string& stop : from.stop) {
    RETURN_IF_ERROR(CheckUtf8("a stop string", stop));
    to->add_stop(stop);
  }
  SamplingToProto(from, to->mutable_sampling());
  if (from.max_tokens) to->set_max_tokens(*from.max_tokens);
  if (from.n) to->set_n(*from.n);
  if (from.logprobs) to->set_logprobs(*from.logprobs);
  to->mutable_stop_token_ids()->Assign(from.stop_token_ids.begin(), from.stop_token_ids.end());
  to->set_ignore_eos(from.ignore_eos);
  to->set_return_token_ids(from.return_token_ids);
  return absl::OkStatus();
}

std::optional<Event> FromProto(v1::GenerateResponse from) {
  switch (from.event_case()) {
    case v1::GenerateResponse::kAccepted:
      return FromProto(*from.mutable_accepted());
    case v1::GenerateResponse::kDelta:
      return FromProto(*from.mutable_delta());
    case v1::GenerateResponse::kFinished:
      return FromProto(from.finished());
    case v1::GenerateResponse::EVENT_NOT_SET:
      return std::nullopt;
  }
  return std::nullopt;
}

ModelInfo FromProto(const v1::GetModelResponse& from) {
  return {.name = from.name(),
          .architecture = from.architecture(),
          .dtype = from.dtype(),
          .vocab_size = from.vocab_size(),
          .max_model_len = from.max_model_len(),
          .block_size = from.block_size(),
          .num_blocks = from.num_blocks(),
          .system_fingerprint = from.system_fingerprint(),
          .version = from.version()};
}

}  // namespace pagoda::client_internal
