#include "coordinator/transport/pool_size.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace pagoda {
namespace {

// Block ids are 31 bits wide on the wire and in the pool.
constexpr uint64_t kMaxBlocks = (uint64_t{1} << 31) - 2;

absl::Status CheckFlags(const PoolFlags& flags, uint32_t max_position_embeddings) {
  const uint32_t size = flags.block_size;
  if (size < 8 || size > 128 || (size & (size - 1)) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--block-size is ", size, "; it must be 8, 16, 32, 64 or 128"));
  }
  if (flags.max_num_seqs == 0 || flags.max_num_batched_tokens == 0) {
    return absl::InvalidArgumentError(
        "--max-num-seqs and --max-num-batched-tokens must be at least 1");
  }
  if (flags.max_model_len > max_position_embeddings) {
    return absl::InvalidArgumentError(absl::StrCat("--max-model-len is ",
                                                   flags.max_model_len,
                                                   "; the model's limit is ",
                                                   max_position_embeddings));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<core::GroupCapacity> StepCapacity(const PoolFlags& flags,
                                                 uint32_t max_position_embeddings) {
  RETURN_IF_ERROR(CheckFlags(flags, max_position_embeddings));
  core::GroupCapacity capacity;
  capacity.block_size = flags.block_size;
  capacity.max_model_len = flags.max_model_len > 0 ? flags.max_model_len : max_position_embeddings;
  capacity.max_step_tokens = flags.max_num_batched_tokens;
  capacity.max_lanes = std::min(flags.max_num_seqs, flags.max_num_batched_tokens);
  return capacity;
}

absl::StatusOr<core::GroupCapacity> SizePool(const PoolFlags& flags, const PoolLimits& limits) {
  ASSIGN_OR_RETURN(core::GroupCapacity capacity,
                   StepCapacity(flags, limits.max_position_embeddings));
  if (limits.kv_bytes_per_token == 0) {
    return absl::InvalidArgumentError("the worker reports a KV cache of 0 bytes per token");
  }
  const uint64_t memory =
      flags.kv_cache_memory_bytes > 0 ? flags.kv_cache_memory_bytes : limits.pool_memory_bytes;
  const uint64_t block_bytes = limits.kv_bytes_per_token * flags.block_size;
  const uint64_t blocks_per_sequence =
      (capacity.max_model_len + uint64_t{flags.block_size} - 1) / flags.block_size;
  uint64_t blocks = flags.num_blocks_override;
  if (blocks == 0 && flags.kv_cache_memory_bytes > 0) {
    blocks = memory / block_bytes;
  } else if (blocks == 0) {
    blocks = std::min(memory / block_bytes, capacity.max_lanes * blocks_per_sequence);
  }
  if (blocks == 0) {
    return absl::ResourceExhaustedError(absl::StrCat("no KV block fits: a block of ",
                                                     flags.block_size,
                                                     " tokens needs ",
                                                     block_bytes,
                                                     " bytes, available are ",
                                                     memory));
  }
  capacity.num_blocks = static_cast<uint32_t>(std::min(blocks, kMaxBlocks));
  return capacity;
}

}  // namespace pagoda
