#include "kernels/cpu/block_ops.h"

#include <cstring>

namespace pagoda::cpu {
namespace {

struct Range {
  size_t begin, size;
};

// This part's bytes of every block, in whole cache lines but for the block's own end.
Range PartOf(size_t block_bytes, int part, int parts) {
  constexpr size_t kLine = 64;
  const size_t lines = (block_bytes + kLine - 1) / kLine;
  const size_t begin = lines * part / parts * kLine;
  const size_t end = part + 1 == parts ? block_bytes : lines * (part + 1) / parts * kLine;
  return {begin, end - begin};
}

}  // namespace

void CopyBlocks(const BlockMemory& memory,
                absl::Span<const BlockCopy> copies,
                int part,
                int parts) {
  const Range range = PartOf(memory.block_bytes, part, parts);
  for (const BlockCopy& copy : copies) {
    if (copy.source == copy.destination) continue;
    std::memcpy(memory.base + copy.destination * memory.block_bytes + range.begin,
                memory.base + copy.source * memory.block_bytes + range.begin,
                range.size);
  }
}

void FillBlocks(const BlockMemory& memory,
                absl::Span<const int32_t> blocks,
                uint8_t byte,
                int part,
                int parts) {
  const Range range = PartOf(memory.block_bytes, part, parts);
  for (const int32_t block : blocks) {
    std::memset(memory.base + block * memory.block_bytes + range.begin, byte, range.size);
  }
}

}  // namespace pagoda::cpu
