// What linears by cuBLASLt need around it, where our own kernel does it inside.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/linear.h"

namespace pagoda::cuda {

// out bf16 [rows, in], rows begin on 16 bytes, = the rows of x that x_row names.
struct GatherRowsArgs {
  const void* x = nullptr;
  int64_t x_stride = 0;            // elements, as out's a multiple of 8
  const int32_t* x_row = nullptr;  // [rows]
  void* out = nullptr;
  int64_t out_stride = 0;
  int32_t rows = 0;  // >= 1
  int32_t in = 0;    // elements; up to 7 more are copied
};
cudaError_t RunGatherRows(const GatherRowsArgs& args, cudaStream_t stream);

// y bf16 [rows, out] = silu(gate) * up, from the columns of a packed weight with kSiluMul.
struct SiluMulArgs {
  PackedLinear weight;
  const float* columns = nullptr;  // [rows, weight.columns], without the bias
  void* y = nullptr;
  int64_t y_stride = 0;
  int32_t rows = 0;  // >= 1
};
cudaError_t RunSiluMul(const SiluMulArgs& args, cudaStream_t stream);

}  // namespace pagoda::cuda
