// Whole-block operations on a KV pool in device memory: nothing here knows what a block holds.
// Lists travel with the launches, so nothing is allocated or waited for.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "kernels/step.h"

namespace pagoda::cuda {

// Block i is [base + i * block_bytes, base + (i + 1) * block_bytes); base and block_bytes are
// multiples of 16.
struct BlockMemory {
  std::byte* base = nullptr;
  size_t block_bytes = 0;
};

// In order: a copy may read what an earlier one wrote.
cudaError_t RunCopyBlocks(const BlockMemory& memory,
                          absl::Span<const BlockCopy> copies,
                          cudaStream_t stream);

cudaError_t RunZeroBlocks(const BlockMemory& memory,
                          absl::Span<const int32_t> blocks,
                          cudaStream_t stream);

}  // namespace pagoda::cuda
