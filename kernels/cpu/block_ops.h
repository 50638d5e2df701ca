// Whole-block operations on a KV pool: nothing here knows what a block holds.
//
// Threads: work is split by byte range within the blocks, `part` of `parts`, so a list keeps its
// order in every byte (a copy may read what an earlier one wrote) without any thread waiting for
// another.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "kernels/step.h"

namespace pagoda::cpu {

// Block i is [base + i * block_bytes, base + (i + 1) * block_bytes).
struct BlockMemory {
  std::byte* base;
  size_t block_bytes;
};

// What a freed block is filled with in tests: NaN in every element type.
inline constexpr uint8_t kPoisonByte = 0xff;

void CopyBlocks(const BlockMemory& memory, absl::Span<const BlockCopy> copies, int part, int parts);

// Fills blocks with a byte: 0 to zero them, kPoisonByte to poison them.
void FillBlocks(const BlockMemory& memory,
                absl::Span<const int32_t> blocks,
                uint8_t byte,
                int part,
                int parts);

}  // namespace pagoda::cpu
