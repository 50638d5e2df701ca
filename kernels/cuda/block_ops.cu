#include "kernels/cuda/block_ops.h"
#include "kernels/cuda/launch.h"

namespace pagoda::cuda {
namespace {

constexpr int kThreads = 256;
constexpr size_t kPiece = sizeof(uint4);  // that one thread moves of a block

// A thread does the same 16 bytes of every copy, so the list's order holds without a barrier.
__global__ void __launch_bounds__(kThreads)
    CopyBlocks(BlockMemory memory, const BlockCopy* copies, int32_t count) {
  const size_t at = (size_t{blockIdx.x} * kThreads + threadIdx.x) * kPiece;
  if (at >= memory.block_bytes) return;
  for (int32_t i = 0; i < count; ++i) {
    const size_t from = copies[i].source * memory.block_bytes + at;
    const size_t to = copies[i].destination * memory.block_bytes + at;
    *reinterpret_cast<uint4*>(memory.base + to) =
        *reinterpret_cast<const uint4*>(memory.base + from);
  }
}

__global__ void __launch_bounds__(kThreads)
    ZeroBlocks(BlockMemory memory, const int32_t* blocks, int32_t count) {
  const size_t at = (size_t{blockIdx.x} * kThreads + threadIdx.x) * kPiece;
  if (at >= memory.block_bytes) return;
  for (int32_t i = 0; i < count; ++i) {
    *reinterpret_cast<uint4*>(memory.base + blocks[i] * memory.block_bytes + at) =
        make_uint4(0, 0, 0, 0);
  }
}

LaunchShape Shape(const char* name, const BlockMemory& memory, cudaStream_t stream) {
  const size_t pieces = memory.block_bytes / kPiece;
  return {name, static_cast<unsigned>((pieces + kThreads - 1) / kThreads), kThreads, 0, stream};
}

}  // namespace

cudaError_t RunCopyBlocks(const BlockMemory& memory,
                          const BlockCopy* copies,
                          int32_t count,
                          cudaStream_t stream) {
  return Launch(Shape("CopyBlocks", memory, stream), CopyBlocks, memory, copies, count);
}

cudaError_t RunZeroBlocks(const BlockMemory& memory,
                          const int32_t* blocks,
                          int32_t count,
                          cudaStream_t stream) {
  return Launch(Shape("ZeroBlocks", memory, stream), ZeroBlocks, memory, blocks, count);
}

}  // namespace pagoda::cuda
