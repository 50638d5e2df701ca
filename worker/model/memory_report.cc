#include "worker/model/memory_report.h"

#include <algorithm>

#include "common/check.h"
#include "worker/model/arch.h"

namespace pagoda {
namespace {

uint64_t ShareElements(const TensorNeed& need) {
  uint64_t count = 1;
  for (const int64_t dim : need.shape) count *= static_cast<uint64_t>(dim);
  return count / static_cast<uint64_t>(need.share.extent) *
         static_cast<uint64_t>(need.share.size());
}

}  // namespace

MemoryReport EstimateMemory(const ArchSpec& arch,
                            const ModelConfig& config,
                            DType dtype,
                            const ShardSpec& shard) {
  MemoryReport report;
  for (const TensorNeed& need : NeededTensors(arch, config, shard)) {
    uint64_t bytes = ShareElements(need);
    switch (need.role) {
      case TensorNeed::Role::kEmbedding:
        bytes *= DTypeSize(dtype) * (config.tie_word_embeddings ? 2 : 1);
        break;
      case TensorNeed::Role::kLinear:
        bytes *= DTypeSize(dtype);
        break;
      case TensorNeed::Role::kNorm:
      case TensorNeed::Role::kBias:
        bytes *= sizeof(float);
        break;
    }
    report.weight_bytes += bytes;
  }
  report.kv_bytes_per_token = 2 * DTypeSize(dtype) * static_cast<uint64_t>(config.num_layers) *
                              static_cast<uint64_t>(ShardUnits(config.num_kv_heads, shard)) *
                              static_cast<uint64_t>(config.head_dim);
  return report;
}

int64_t MaxLengthThatFits(const MemoryReport& report,
                          const ModelConfig& config,
                          uint64_t available_bytes,
                          int64_t block_size) {
  CHECK_GT(block_size, 0);
  if (available_bytes <= report.weight_bytes) return 0;
  const uint64_t block_bytes = report.kv_bytes_per_token * static_cast<uint64_t>(block_size);
  const uint64_t blocks = (available_bytes - report.weight_bytes) / block_bytes;
  if (blocks < 2) return 0;
  const uint64_t limit = static_cast<uint64_t>(config.max_position_embeddings);
  return static_cast<int64_t>(
      std::min<uint64_t>(limit, (blocks - 1) * static_cast<uint64_t>(block_size)));
}

}  // namespace pagoda
