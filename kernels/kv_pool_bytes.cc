#include "kernels/kv_pool_bytes.h"

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace pagoda {
namespace {

// Bounds under which no size overflows: 2^12 layers * 2 * 2^12 heads * 2^8 * 2^12 tokens * 4 bytes
// * 2^31 blocks stays in the 128 bits of the product below, and one block in 64.
constexpr int kMaxLayers = 1 << 12;
constexpr int kMaxHeads = 1 << 12;
constexpr int kMaxBlockSize = 1 << 12;
constexpr int kMaxHeadDim = 256;

absl::Status CheckLayout(const KvLayout& layout, int32_t num_blocks) {
  if (layout.dtype != DType::kF32 && layout.dtype != DType::kBf16) {
    return absl::UnimplementedError(
        absl::StrCat("KV in ", DTypeName(layout.dtype), ": expected float32 or bfloat16"));
  }
  if (layout.num_layers < 1 || layout.num_layers > kMaxLayers || layout.num_kv_heads < 1 ||
      layout.num_kv_heads > kMaxHeads) {
    return absl::InvalidArgumentError(
        absl::StrCat("KV of ", layout.num_layers, " layers and ", layout.num_kv_heads, " heads"));
  }
  const int size = layout.block_size;
  if (size < 8 || size > kMaxBlockSize || (size & (size - 1)) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("block_size ", size, ": expected a power of two from 8 to ", kMaxBlockSize));
  }
  if (layout.head_dim < 16 || layout.head_dim > kMaxHeadDim || layout.head_dim % 16 != 0) {
    return absl::UnimplementedError(absl::StrCat("head_dim ",
                                                 layout.head_dim,
                                                 ": expected a multiple of 16 up to ",
                                                 kMaxHeadDim));
  }
  if (num_blocks < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat(num_blocks, " blocks: a pool needs block 0, which is reserved, and one more"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<size_t> KvPoolBytes(const KvLayout& layout, int32_t num_blocks) {
  RETURN_IF_ERROR(CheckLayout(layout, num_blocks));
  const unsigned __int128 bytes =
      static_cast<unsigned __int128>(layout.BlockBytes()) * static_cast<unsigned>(num_blocks);
  if (bytes > SIZE_MAX / 2) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a KV pool of ", num_blocks, " blocks of ", layout.BlockBytes(), " bytes"));
  }
  return static_cast<size_t>(bytes);
}

}  // namespace pagoda
