#include "coordinator/api/grpc/from_proto.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace pagoda {
namespace {

absl::Status Unimplemented(absl::string_view field) {
  return absl::UnimplementedError(absl::StrCat("this server does not have '", field, "' yet"));
}

absl::Status CheckBuilt(const v1::GenerateRequest& request) {
  if (request.has_n()) {
    if (request.n() == 0) return absl::InvalidArgumentError("n is 0; it must be at least 1");
    if (request.n() > 1) return Unimplemented("n");
  }
  if (request.priority() != 0) return Unimplemented("priority");
  if (!request.tenant().empty()) return Unimplemented("tenant");
  if (request.has_resume_grace() &&
      (request.resume_grace().seconds() != 0 || request.resume_grace().nanos() != 0)) {
    return Unimplemented("resume_grace");
  }
  const v1::SamplingParameters& sampling = request.sampling();
  if (sampling.presence_penalty() != 0) return Unimplemented("presence_penalty");
  if (sampling.frequency_penalty() != 0) return Unimplemented("frequency_penalty");
  if (sampling.has_repetition_penalty() && sampling.repetition_penalty() != 1) {
    return Unimplemented("repetition_penalty");
  }
  if (sampling.min_tokens() != 0) return Unimplemented("min_tokens");
  if (!sampling.logit_bias().empty()) return Unimplemented("logit_bias");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GenerateParams> FromProto(const v1::GenerateRequest& request,
                                         const ServedModel& model) {
  if (!request.model().empty() && request.model() != model.name) {
    return absl::NotFoundError(
        absl::StrCat("no model '", request.model(), "'; this server has '", model.name, "'"));
  }
  RETURN_IF_ERROR(CheckBuilt(request));
  GenerateParams params;
  switch (request.prompt_case()) {
    case v1::GenerateRequest::kText:
      params.prompt = request.text();
      break;
    case v1::GenerateRequest::kTokenIds:
      params.prompt =
          std::vector<uint32_t>(request.token_ids().ids().begin(), request.token_ids().ids().end());
      break;
    case v1::GenerateRequest::PROMPT_NOT_SET:
      return absl::InvalidArgumentError("the request has no prompt: set text or token_ids");
  }
  const v1::SamplingParameters& sampling = request.sampling();
  if (sampling.has_temperature()) params.temperature = sampling.temperature();
  if (sampling.has_top_p()) params.top_p = sampling.top_p();
  if (sampling.has_top_k()) params.top_k = sampling.top_k();
  if (sampling.has_min_p()) params.min_p = sampling.min_p();
  if (sampling.has_seed()) params.seed = sampling.seed();
  if (request.has_max_tokens()) params.max_tokens = request.max_tokens();
  if (request.has_logprobs()) params.logprobs = request.logprobs();
  params.stop.assign(request.stop().begin(), request.stop().end());
  params.stop_token_ids.assign(request.stop_token_ids().begin(), request.stop_token_ids().end());
  params.ignore_eos = request.ignore_eos();
  return params;
}

}  // namespace pagoda
