// The devices that this process sees.
#pragma once

#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace pagoda::cuda {

// FAILED_PRECONDITION without one or with too old a driver.
absl::StatusOr<int> NumDevices();

absl::StatusOr<DeviceInfo> DescribeDevice(int device);

}  // namespace pagoda::cuda
