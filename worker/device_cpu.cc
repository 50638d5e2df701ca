#include "kernels/cpu/cpu_backend.h"
#include "worker/device.h"

namespace pagoda {

BackendFactory DeviceOf(const ServerFlags& flags) {
  return cpu::CpuDevice({.threads = static_cast<int>(flags.threads), .isa = flags.cpu_isa});
}

}  // namespace pagoda
