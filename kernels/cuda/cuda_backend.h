// The CUDA backend: one device, one stream. Steps are queued, so the next may be prepared and run
// before the last one's tokens are collected.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace pagoda::cuda {

struct CudaBackendOptions {
  int device = 0;
};

// FAILED_PRECONDITION without a device or with too old a driver.
absl::StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(const CudaBackendOptions& options);

}  // namespace pagoda::cuda
