#include "coordinator/core/scheduler/cost_model.h"

#include <algorithm>

namespace pagoda::core {

void CostModel::Observe(uint32_t tokens, absl::Duration busy) {
  if (tokens == 0) return;
  const int64_t seen = std::max<int64_t>(absl::ToInt64Nanoseconds(busy) / tokens, 1);
  ns_per_token_ = std::max(seen, ns_per_token_ - ns_per_token_ / 64);
}

absl::Duration CostModel::Predict(uint32_t tokens) const {
  return absl::Nanoseconds(ns_per_token_) * static_cast<int64_t>(tokens);
}

}  // namespace pagoda::core
