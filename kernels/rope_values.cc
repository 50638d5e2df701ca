#include "kernels/rope_values.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "kernels/host_tensor.h"

namespace pagoda {
namespace {

constexpr int kMaxPairs = 128;

}  // namespace

absl::Status CheckRope(const RopeSpec& spec) {
  const int64_t pairs = static_cast<int64_t>(spec.inverse_frequencies.size());
  if (pairs < 1 || pairs > kMaxPairs || spec.max_position < 1 ||
      spec.max_position > kMaxDimension) {
    return absl::InvalidArgumentError(absl::StrCat("RoPE of ",
                                                   pairs,
                                                   " frequencies and ",
                                                   spec.max_position,
                                                   " positions: expected 1 to ",
                                                   kMaxPairs,
                                                   " and 1 to ",
                                                   kMaxDimension));
  }
  return absl::OkStatus();
}

void FillRope(const RopeSpec& spec, float* out) {
  const int64_t pairs = static_cast<int64_t>(spec.inverse_frequencies.size());
  for (int64_t position = 0; position < spec.max_position; ++position, out += 2 * pairs) {
    for (int64_t i = 0; i < pairs; ++i) {
      const double angle = static_cast<double>(position) * spec.inverse_frequencies[i];
      out[i] = static_cast<float>(std::cos(angle) * spec.attention_factor);
      out[pairs + i] = static_cast<float>(std::sin(angle) * spec.attention_factor);
    }
  }
}

}  // namespace pagoda
