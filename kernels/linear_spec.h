// What of packing a linear is the same on every device.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"

namespace pagoda {

inline constexpr int kDotStep = 32;  // k of a step of the dot product
inline constexpr int kMaxRowSlices = 8;

// S of kernels/NUMERICS.md for the whole model's K.
int RowSlices(int64_t k);

// Whether Backend::PackLinear's arguments fit each other.
absl::Status CheckLinear(const LinearSpec& spec,
                         absl::Span<const HostTensor> parts,
                         absl::Span<const HostTensor> biases);

// The K-slices of this rank. INVALID_ARGUMENT when the ranks cannot divide them.
absl::StatusOr<int> LocalSlices(const LinearSpec& spec);

}  // namespace pagoda
