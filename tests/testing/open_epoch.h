// A runner's epoch, opened as the worker's service does it.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/runner/runner.h"

namespace pagoda::testing {

// REQUIRES: a runner of a single rank.
inline absl::Status OpenEpoch(Runner& runner, const v1::ConfigureRequest& config) {
  const absl::StatusOr<std::string> endpoint = runner.Configure(config);
  if (!endpoint.ok()) return endpoint.status();
  return runner.Connect(absl::MakeConstSpan(&*endpoint, 1));
}

}  // namespace pagoda::testing
