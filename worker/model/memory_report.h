// What a model needs in memory on each rank, from its configuration alone (`doctor`, --probe,
// and the check before a load).
#pragma once

#include <cstdint>

#include "kernels/dtype.h"
#include "worker/model/model_config.h"
#include "worker/model/sharding.h"

namespace pagoda {

struct ArchSpec;

struct MemoryReport {
  uint64_t weight_bytes = 0;        // a tied lm_head counts twice: table and matrix
  uint64_t kv_bytes_per_token = 0;  // all layers, K and V
};

// Of one rank. `dtype` is that of weights, activations and KV. REQUIRES: CheckShardable.
MemoryReport EstimateMemory(const ArchSpec& arch,
                            const ModelConfig& config,
                            DType dtype,
                            const ShardSpec& shard = {});

// The longest sequence whose KV fits beside the weights, in whole blocks and with the reserved one:
// 0 when there is no room for one block, never beyond max_position_embeddings.
int64_t MaxLengthThatFits(const MemoryReport& report,
                          const ModelConfig& config,
                          uint64_t available_bytes,
                          int64_t block_size);

}  // namespace pagoda
