// A CUDA error as a Status.
#pragma once

#include <cuda_runtime.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace pagoda::cuda {

// OK, or "`what`: name: description". RESOURCE_EXHAUSTED when memory is short, FAILED_PRECONDITION
// without a device or a new enough driver, INVALID_ARGUMENT for a call that cannot be done. All
// others are INTERNAL: the device is lost to this process.
absl::Status ToStatus(cudaError_t error, absl::string_view what);

}  // namespace pagoda::cuda
