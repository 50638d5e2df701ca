#include "kernels/cuda/device_info.h"

#include <cuda_runtime.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "kernels/cuda/status.h"

namespace pagoda::cuda {

absl::StatusOr<int> NumDevices() {
  int count = 0;
  RETURN_IF_ERROR(ToStatus(cudaGetDeviceCount(&count), "looking for a device"));
  return count;
}

absl::StatusOr<DeviceInfo> DescribeDevice(int device) {
  cudaDeviceProp properties;
  RETURN_IF_ERROR(ToStatus(cudaGetDeviceProperties(&properties, device), "asking for the device"));
  char bus[16] = "";
  RETURN_IF_ERROR(
      ToStatus(cudaDeviceGetPCIBusId(bus, sizeof(bus), device), "asking for the device's place"));
  int major = 0, minor = 0;
  RETURN_IF_ERROR(
      ToStatus(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device),
               "asking for the architecture"));
  RETURN_IF_ERROR(
      ToStatus(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device),
               "asking for the architecture"));
  const std::string kind = absl::StrCat("cuda sm_", major, minor);
  return DeviceInfo{.kind = kind,
                    .description = absl::StrCat(properties.name, ", ", kind, ", device ", device),
                    .memory = absl::StrCat("gpu ", bus)};
}

}  // namespace pagoda::cuda
