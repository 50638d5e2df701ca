// A large square bf16 GEMM, whose rate is the limit of what multiplies: cuBLAS's in a program for
// GPUs (gemm_cublas.cc), none in one for the fake device (gemm_none.cc). CMake chooses.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace pagoda::bench {

class Gemm {
 public:
  virtual ~Gemm() = default;
  // Queues c = a b, all [size, size], bf16 with f32 sums.
  virtual absl::Status Run(const void* a, const void* b, void* c, int32_t size) = 0;
};

// Null: this program has none.
absl::StatusOr<std::unique_ptr<Gemm>> MakeGemm(cudaStream_t stream);

}  // namespace pagoda::bench
