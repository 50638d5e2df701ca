#include <stdlib.h>

#include "kernels/cuda/cuda_backend.h"
#include "worker/device.h"

namespace pagoda {

BackendFactory DeviceOf(const ServerFlags& flags) {
  // A kernel that is loaded when it is first launched may wait for NCCL's that are under way.
  setenv("CUDA_MODULE_LOADING", "EAGER", 0);
  return cuda::CudaDevice(
      {.memory_utilization = flags.gpu_memory_utilization, .deterministic = flags.deterministic});
}

}  // namespace pagoda
