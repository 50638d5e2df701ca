#include <algorithm>

#include "kernels/cuda/block_ops.h"
#include "kernels/cuda/launch.h"

namespace pagoda::cuda {
namespace {

constexpr int kThreads = 256;
constexpr size_t kPiece = sizeof(uint4);  // that one thread moves of a block

// As much of a list as one launch carries.
template <class T>
struct List {
  static constexpr int kMost = 2048 / sizeof(T);
  int32_t count;
  T items[kMost];
};

// A thread does the same 16 bytes of every copy, so the list's order holds without a barrier.
__global__ void __launch_bounds__(kThreads)
    CopyBlocks(BlockMemory memory, const __grid_constant__ List<BlockCopy> copies) {
  const size_t at = (size_t{blockIdx.x} * kThreads + threadIdx.x) * kPiece;
  if (at >= memory.block_bytes) return;
  for (int32_t i = 0; i < copies.count; ++i) {
    const size_t from = copies.items[i].source * memory.block_bytes + at;
    const size_t to = copies.items[i].destination * memory.block_bytes + at;
    *reinterpret_cast<uint4*>(memory.base + to) =
        *reinterpret_cast<const uint4*>(memory.base + from);
  }
}

__global__ void __launch_bounds__(kThreads)
    ZeroBlocks(BlockMemory memory, const __grid_constant__ List<int32_t> blocks) {
  const size_t at = (size_t{blockIdx.x} * kThreads + threadIdx.x) * kPiece;
  if (at >= memory.block_bytes) return;
  for (int32_t i = 0; i < blocks.count; ++i) {
    *reinterpret_cast<uint4*>(memory.base + blocks.items[i] * memory.block_bytes + at) =
        make_uint4(0, 0, 0, 0);
  }
}

// A launch for each part of the list, in order.
template <class T>
cudaError_t LaunchParts(const char* name,
                        void (*kernel)(BlockMemory, List<T>),
                        const BlockMemory& memory,
                        absl::Span<const T> items,
                        cudaStream_t stream) {
  const size_t pieces = memory.block_bytes / kPiece;
  const unsigned ctas = static_cast<unsigned>((pieces + kThreads - 1) / kThreads);
  while (!items.empty()) {
    List<T> list = {};
    list.count = static_cast<int32_t>(std::min<size_t>(items.size(), List<T>::kMost));
    std::copy_n(items.begin(), list.count, list.items);
    const cudaError_t error = Launch({name, ctas, kThreads, 0, stream}, kernel, memory, list);
    if (error != cudaSuccess) return error;
    items.remove_prefix(list.count);
  }
  return cudaSuccess;
}

}  // namespace

cudaError_t RunCopyBlocks(const BlockMemory& memory,
                          absl::Span<const BlockCopy> copies,
                          cudaStream_t stream) {
  return LaunchParts("CopyBlocks", &CopyBlocks, memory, copies, stream);
}

cudaError_t RunZeroBlocks(const BlockMemory& memory,
                          absl::Span<const int32_t> blocks,
                          cudaStream_t stream) {
  return LaunchParts("ZeroBlocks", &ZeroBlocks, memory, blocks, stream);
}

}  // namespace pagoda::cuda
