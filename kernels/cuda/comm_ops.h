// What ranks have sent, put together by the contract's tree. Queues one kernel, allocates nothing.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace pagoda::cuda {

enum class CombineOp : uint8_t {
  kAdd,  // f32: ((0+1)+(2+3))+((4+5)+(6+7))
  kOr,   // of words
};

struct CombineArgs {
  const uint32_t* sources = nullptr;  // of rank r from sources + r * stride
  int64_t stride = 0;                 // words
  int64_t count = 0;                  // >= 1
  uint32_t* out = nullptr;            // [count]; none of the sources
  CombineOp op = CombineOp::kAdd;
};

// REQUIRES: 2, 4 or 8 ranks.
cudaError_t RunCombine(int ranks, const CombineArgs& args, cudaStream_t stream);

}  // namespace pagoda::cuda
