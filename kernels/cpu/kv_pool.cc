#include "kernels/cpu/kv_pool.h"

#include "common/status.h"
#include "kernels/kv_pool_bytes.h"

namespace pagoda::cpu {
absl::StatusOr<std::unique_ptr<CpuKvPool>> CpuKvPool::Make(const KvLayout& layout,
                                                           int32_t num_blocks) {
  ASSIGN_OR_RETURN(const size_t bytes, KvPoolBytes(layout, num_blocks));
  ASSIGN_OR_RETURN(HugeBuffer memory, HugeBuffer::Make(bytes));
  return std::make_unique<CpuKvPool>(layout, num_blocks, std::move(memory));
}

KvLayerView CpuKvPool::Layer(int layer) const {
  KvLayerView view;
  view.base = memory_.data() + layout_.KTileOffset(layer, 0);
  view.block_bytes = layout_.BlockBytes();
  view.head_bytes = layout_.TileBytes();
  view.v_bytes = layout_.VTileOffset(layer, 0) - layout_.KTileOffset(layer, 0);
  return view;
}

}  // namespace pagoda::cpu
