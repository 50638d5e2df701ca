// KV blocks in host memory.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/huge_buffer.h"

namespace pagoda::cpu {

class CpuKvPool final : public KvPool {
 public:
  // As Backend::MakeKvPool.
  static absl::StatusOr<std::unique_ptr<CpuKvPool>> Make(const KvLayout& layout,
                                                         int32_t num_blocks);

  CpuKvPool(const KvLayout& layout, int32_t num_blocks, HugeBuffer memory)
      : layout_(layout), num_blocks_(num_blocks), memory_(std::move(memory)) {}

  const KvLayout& layout() const override { return layout_; }
  int32_t num_blocks() const override { return num_blocks_; }
  void* block(int32_t id) override { return data(id); }

  std::byte* data(int32_t id) const { return memory_.data() + id * layout_.BlockBytes(); }
  // Where one layer's tiles lie.
  KvLayerView Layer(int layer) const;

 private:
  const KvLayout layout_;
  const int32_t num_blocks_;
  const HugeBuffer memory_;
};

}  // namespace pagoda::cpu
