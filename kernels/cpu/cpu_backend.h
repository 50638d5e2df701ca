// The CPU backend: host memory, one thread team, one instruction set.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace pagoda::cpu {

struct CpuBackendOptions {
  int threads = 0;  // --threads, the calling thread included; 0: as many as the limits allow
  std::string isa = "auto";  // --cpu-isa: auto, scalar, avx2, avx512
};

absl::StatusOr<std::unique_ptr<Backend>> MakeCpuBackend(const CpuBackendOptions& options);

// The same for every rank.
BackendFactory CpuDevice(const CpuBackendOptions& options);

}  // namespace pagoda::cpu
