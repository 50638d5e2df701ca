// Whole-block operations on a KV pool in device memory: nothing here knows what a block holds. Each
// function queues one kernel and allocates nothing.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "kernels/step.h"

namespace pagoda::cuda {

// Block i is [base + i * block_bytes, base + (i + 1) * block_bytes); base and block_bytes are
// multiples of 16.
struct BlockMemory {
  std::byte* base = nullptr;
  size_t block_bytes = 0;
};

// In order: a copy may read what an earlier one wrote. `copies` [count] is in device memory.
cudaError_t RunCopyBlocks(const BlockMemory& memory,
                          const BlockCopy* copies,
                          int32_t count,
                          cudaStream_t stream);

// `blocks` [count] is in device memory.
cudaError_t RunZeroBlocks(const BlockMemory& memory,
                          const int32_t* blocks,
                          int32_t count,
                          cudaStream_t stream);

}  // namespace pagoda::cuda
