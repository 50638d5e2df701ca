// Sampling parameters as they come over the wire, checked.
#pragma once

#include "absl/status/statusor.h"
#include "proto/pagoda/v1/worker.pb.h"
#include "worker/runner/lanes.h"

namespace pagoda {

// INVALID_ARGUMENT for a value out of range, UNIMPLEMENTED naming a field whose feature is not
// built.
absl::StatusOr<LaneSampling> SamplingFromProto(const v1::SamplingParams& from, int32_t vocab_size);

}  // namespace pagoda
