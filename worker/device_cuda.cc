#include "kernels/cuda/cuda_backend.h"
#include "worker/device.h"

namespace pagoda {

BackendFactory DeviceOf(const ServerFlags& flags) {
  return cuda::CudaDevice(
      {.memory_utilization = flags.gpu_memory_utilization, .deterministic = flags.deterministic});
}

}  // namespace pagoda
