// How long a step takes, learned from the steps that were answered.
#pragma once

#include <cstdint>

#include "absl/time/time.h"

namespace pagoda::core {

// Time of a step = tokens x seconds per token, the latter a slowly forgetting maximum: a prediction
// that is too long costs nothing, one that is too short would end an epoch.
class CostModel {
 public:
  void Observe(uint32_t tokens, absl::Duration busy);
  absl::Duration Predict(uint32_t tokens) const;
  // Whether a step was observed.
  bool calibrated() const { return ns_per_token_ > 0; }

 private:
  int64_t ns_per_token_ = 0;
};

}  // namespace pagoda::core
