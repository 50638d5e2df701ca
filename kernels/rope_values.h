// What of making a RoPE table is the same on every device.
#pragma once

#include "absl/status/status.h"
#include "kernels/backend.h"

namespace pagoda {

// INVALID_ARGUMENT when there are no or too many frequencies or positions.
absl::Status CheckRope(const RopeSpec& spec);

// out [max_position][cos, sin][pairs] (kernels/NUMERICS.md, "Embedding, norm, RoPE").
// REQUIRES: CheckRope(spec).
void FillRope(const RopeSpec& spec, float* out);

}  // namespace pagoda
