// What this machine can do for a model, without loading it (`--probe`, for `pagoda doctor`).
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace pagoda {

struct ProbeOptions {
  std::string model;  // directory; empty: the machine alone
  BackendFactory device;
};

struct ProbeReport {
  std::string text;   // a line for each fact
  bool fits = false;  // weights and at least one KV block; true without a model
};

// Errors as of LoadModel; the checkpoint's headers are checked, its weights are not read.
absl::StatusOr<ProbeReport> Probe(const ProbeOptions& options);

}  // namespace pagoda
