// The bytes of a KV block on a device: for each layer K then V, for each KV head one tile of
// block_size x head_dim elements. What is inside a tile belongs to the backend; outside it a block
// is only copied whole. This is the only place that computes these sizes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/dtype.h"

namespace pagoda {

struct KvLayout {
  int32_t num_layers = 0;    // of this KV group
  int32_t num_kv_heads = 0;  // of this rank
  int32_t head_dim = 0;
  int32_t block_size = 0;  // tokens
  DType dtype = DType::kBf16;

  constexpr size_t TileElements() const {
    return static_cast<size_t>(block_size) * static_cast<size_t>(head_dim);
  }
  constexpr size_t TileBytes() const { return TileElements() * DTypeSize(dtype); }
  constexpr size_t BlockBytes() const {
    return TileBytes() * 2 * static_cast<size_t>(num_kv_heads) * static_cast<size_t>(num_layers);
  }

  // From the first byte of a block.
  constexpr size_t KTileOffset(int layer, int kv_head) const {
    return TileBytes() * (static_cast<size_t>(layer) * 2 * num_kv_heads + kv_head);
  }
  constexpr size_t VTileOffset(int layer, int kv_head) const {
    return KTileOffset(layer, kv_head) + TileBytes() * num_kv_heads;
  }

  friend bool operator==(const KvLayout&, const KvLayout&) = default;
};

}  // namespace pagoda
