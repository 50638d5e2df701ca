// What distinguishes one architecture from another. One decoder runs them all, driven by an entry
// of the table in arch.cc; a new architecture is an entry there (at most 40 lines), not code
// elsewhere.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "worker/model/sharding.h"

namespace pagoda {

struct ModelConfig;

enum class NormKind : uint8_t { kRms };
enum class Activation : uint8_t { kSiluMul };  // silu(gate) * up
enum class RopeStyle : uint8_t { kHalves };    // dimension d rotates with d + head_dim / 2

// Whether a linear has a bias: never, or when the configuration says so.
enum class BiasRule : uint8_t { kNever, kAttentionBias, kMlpBias };

struct ArchSpec {
  const char* name;  // as in config.json's `architectures`

  NormKind norm;
  Activation activation;
  const char* activation_name;  // the only `hidden_act` that means `activation`
  RopeStyle rope;
  bool sliding_window;  // honours config.json's sliding_window in every layer

  // Tensor names without ".weight" or ".bias"; "{}" stands for the layer's number.
  const char* embedding;
  const char* attention_norm;
  const char* q;
  const char* k;
  const char* v;
  const char* o;
  const char* mlp_norm;
  const char* gate;
  const char* up;
  const char* down;
  const char* final_norm;
  const char* lm_head;

  BiasRule qkv_bias;
  BiasRule o_bias;
  BiasRule mlp_bias;

  // A tensor of the files whose name ends so is no weight and is skipped.
  absl::Span<const char* const> ignored_suffixes;
};

// Unimplemented, naming the architecture and the supported ones, when there is no entry.
absl::StatusOr<const ArchSpec*> FindArch(absl::string_view name);

bool HasBias(BiasRule rule, const ModelConfig& config);

// "model.layers.{}.mlp" and 3 give "model.layers.3.mlp".
std::string LayerName(absl::string_view pattern, int64_t layer);

// One tensor that a model's files must hold, and the part of it that a rank needs.
struct TensorNeed {
  enum class Role : uint8_t { kEmbedding, kLinear, kNorm, kBias };
  std::string name;
  std::vector<int64_t> shape;  // of the whole: [outputs, inputs] or [outputs]
  Role role;
  TensorShare share;
};

// Every tensor of the model, layer by layer. With tied embeddings the lm_head is not among them.
// REQUIRES: CheckShardable(config, shard).
std::vector<TensorNeed> NeededTensors(const ArchSpec& arch,
                                      const ModelConfig& config,
                                      const ShardSpec& shard = {});

}  // namespace pagoda
