// How large a group's pool is: the one formula, shared by the server and by `doctor`'s advice.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "coordinator/core/request/capacity.h"

namespace pagoda {

// What the operator asked for; 0 = not given.
struct PoolFlags {
  uint32_t block_size = 16;    // tokens; 8, 16, 32, 64 or 128
  uint32_t max_model_len = 0;  // 0: the model's
  uint32_t max_num_seqs = 256;
  uint32_t max_num_batched_tokens = 2048;
  uint32_t num_blocks_override = 0;  // usable blocks
  uint64_t kv_cache_memory_bytes = 0;
};

// What the worker reported of itself.
struct PoolLimits {
  uint32_t max_position_embeddings = 0;
  uint64_t kv_bytes_per_token = 0;
  uint64_t pool_memory_bytes = 0;  // that a pool may take
};

// All but num_blocks. INVALID_ARGUMENT for flags that contradict the model.
absl::StatusOr<core::GroupCapacity> StepCapacity(const PoolFlags& flags,
                                                 uint32_t max_position_embeddings);

// num_blocks is the override, or what kv_cache_memory_bytes holds, or what the pool's memory holds
// but at most max_num_seqs x max_model_len tokens. Errors as of StepCapacity; RESOURCE_EXHAUSTED
// when the memory holds no block.
absl::StatusOr<core::GroupCapacity> SizePool(const PoolFlags& flags, const PoolLimits& limits);

}  // namespace pagoda
