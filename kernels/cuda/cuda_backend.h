// The CUDA backend: one device, one stream. Steps are queued, so the next may be prepared and run
// before the last one's tokens are collected.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace pagoda::cuda {

struct CudaBackendOptions {
  int device = 0;
  double memory_utilization = 0.9;  // --gpu-memory-utilization: of the device's memory, (0, 1]
  bool deterministic = true;        // false: linears of bf16 by cuBLASLt
};

// FAILED_PRECONDITION without a device or with too old a driver, INVALID_ARGUMENT for options that
// cannot be.
absl::StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(const CudaBackendOptions& options);

// Ranks take the devices that this process sees in turn; options.device is not looked at.
BackendFactory CudaDevice(const CudaBackendOptions& options);

}  // namespace pagoda::cuda
