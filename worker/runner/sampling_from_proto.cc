#include "worker/runner/sampling_from_proto.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace pagoda {
namespace {

absl::Status CheckBuilt(const v1::SamplingParams& from) {
  const char* name = from.presence_penalty() != 0    ? "presence_penalty"
                     : from.frequency_penalty() != 0 ? "frequency_penalty"
                     : from.repetition_penalty() != 0 && from.repetition_penalty() != 1
                         ? "repetition_penalty"
                     : from.min_tokens() != 0      ? "min_tokens"
                     : from.stop_ids_size() != 0   ? "stop_ids"
                     : from.logit_bias_size() != 0 ? "logit_bias"
                     : from.masked()               ? "masked"
                                                   : nullptr;
  if (name == nullptr) return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat("sampling.", name, " is not built yet"));
}

// NaN is in no range.
absl::Status CheckRange(const char* name, float value, float min, float max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("sampling.", name, " is ", value, ": ", min, " to ", max, " is possible"));
}

}  // namespace

absl::StatusOr<LaneSampling> SamplingFromProto(const v1::SamplingParams& from, int32_t vocab_size) {
  RETURN_IF_ERROR(CheckBuilt(from));
  RETURN_IF_ERROR(
      CheckRange("temperature", from.temperature(), 0, std::numeric_limits<float>::max()));
  RETURN_IF_ERROR(CheckRange("top_p", from.top_p(), 0, 1));
  RETURN_IF_ERROR(CheckRange("min_p", from.min_p(), 0, 1));
  if (from.logprobs() < -1 || from.logprobs() > vocab_size) {
    return absl::InvalidArgumentError(absl::StrCat("sampling.logprobs is ",
                                                   from.logprobs(),
                                                   ": -1 to the vocabulary's ",
                                                   vocab_size,
                                                   " is possible"));
  }
  if (from.sequence_index() > static_cast<uint32_t>(std::numeric_limits<int32_t>::max())) {
    return absl::InvalidArgumentError(
        absl::StrCat("sampling.sequence_index is ", from.sequence_index()));
  }
  LaneSampling to;
  to.params.temperature = from.temperature();
  to.params.top_p = from.top_p() == 0 ? 1 : from.top_p();
  to.params.min_p = from.min_p();
  to.params.top_k = from.top_k();
  to.params.seed = from.seed();
  to.params.logprobs = from.logprobs();
  to.sequence_index = static_cast<int32_t>(from.sequence_index());
  return to;
}

}  // namespace pagoda
