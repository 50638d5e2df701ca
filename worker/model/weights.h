// A model's weights in a backend's private formats. Built once at load; immutable afterwards.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "worker/model/arch.h"
#include "worker/model/model_config.h"
#include "worker/model/sharding.h"
#include "worker/model/tensor_source.h"

namespace pagoda {

struct LayerWeights {
  std::unique_ptr<NormWeight> attention_norm;
  std::unique_ptr<LinearWeight> qkv;  // column-parallel by heads
  std::unique_ptr<LinearWeight> o;    // row-parallel
  std::unique_ptr<NormWeight> mlp_norm;
  std::unique_ptr<LinearWeight> gate_up;  // column-parallel, silu(gate) * up
  std::unique_ptr<LinearWeight> down;     // row-parallel
};

struct ModelWeights {
  // [tokens of this rank, hidden]; `embedding` may read it in place.
  std::unique_ptr<std::byte[]> embedding_table;
  std::unique_ptr<EmbeddingWeight> embedding;
  std::vector<LayerWeights> layers;
  std::unique_ptr<NormWeight> final_norm;
  std::unique_ptr<LinearWeight> lm_head;  // of the same tokens as the embedding
};

using LoadProgress = absl::FunctionRef<void(uint64_t bytes_read, uint64_t bytes_total)>;

// Reads the rank's share of every needed tensor once and packs it in `dtype` (kBf16 or kF32); f16
// and other dtypes of the files are converted. `progress` is called after each tensor.
absl::StatusOr<ModelWeights> BuildWeights(Backend& backend,
                                          const ArchSpec& arch,
                                          const ModelConfig& config,
                                          DType dtype,
                                          const ShardSpec& shard,
                                          TensorSource& source,
                                          LoadProgress progress);

}  // namespace pagoda
