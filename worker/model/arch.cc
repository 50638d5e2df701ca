#include "worker/model/arch.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "common/check.h"
#include "worker/model/model_config.h"
#include "worker/model/safetensors.h"

namespace pagoda {
namespace {

// Tables that checkpoints of transformers before 4.32 carry along.
constexpr const char* kRopeBuffers[] = {".rotary_emb.inv_freq"};

constexpr ArchSpec kArchs[] = {
    {
        .name = "LlamaForCausalLM",
        .norm = NormKind::kRms,
        .activation = Activation::kSiluMul,
        .activation_name = "silu",
        .rope = RopeStyle::kHalves,
        .sliding_window = false,
        .embedding = "model.embed_tokens",
        .attention_norm = "model.layers.{}.input_layernorm",
        .q = "model.layers.{}.self_attn.q_proj",
        .k = "model.layers.{}.self_attn.k_proj",
        .v = "model.layers.{}.self_attn.v_proj",
        .o = "model.layers.{}.self_attn.o_proj",
        .mlp_norm = "model.layers.{}.post_attention_layernorm",
        .gate = "model.layers.{}.mlp.gate_proj",
        .up = "model.layers.{}.mlp.up_proj",
        .down = "model.layers.{}.mlp.down_proj",
        .final_norm = "model.norm",
        .lm_head = "lm_head",
        .qkv_bias = BiasRule::kAttentionBias,
        .o_bias = BiasRule::kAttentionBias,
        .mlp_bias = BiasRule::kMlpBias,
        .ignored_suffixes = kRopeBuffers,
    },
};

// Appends the needs of one model in order.
class NeedList {
 public:
  using Role = TensorNeed::Role;
  NeedList(const ModelConfig& config, const ShardSpec& shard) : config_(config), shard_(shard) {}

  void Norm(const std::string& name) {
    const int64_t size = config_.hidden_size;
    needs_.push_back(
        {absl::StrCat(name, ".weight"), {size}, Role::kNorm, ShareWhole(size, shard_)});
  }
  // [vocabulary, hidden].
  void Vocabulary(const std::string& name, Role role) {
    const int64_t size = config_.vocab_size;
    needs_.push_back({absl::StrCat(name, ".weight"),
                      {size, config_.hidden_size},
                      role,
                      ShareVocabulary(size, shard_)});
  }
  // Divided by outputs: `units` of `unit` each.
  void Column(const std::string& name, int64_t units, int64_t unit, BiasRule bias) {
    Linear(name,
           units * unit,
           config_.hidden_size,
           ShareOutputs(units * unit, units, shard_),
           bias,
           ShareOutputs(units * unit, units, shard_));
  }
  // Divided by inputs; every rank holds the bias.
  void Row(const std::string& name, int64_t in, BiasRule bias) {
    const int64_t out = config_.hidden_size;
    Linear(name, out, in, ShareInputs(in, shard_), bias, ShareWhole(out, shard_));
  }
  std::vector<TensorNeed> Take() { return std::move(needs_); }

 private:
  void Linear(const std::string& name,
              int64_t out,
              int64_t in,
              const TensorShare& share,
              BiasRule bias,
              const TensorShare& bias_share) {
    needs_.push_back({absl::StrCat(name, ".weight"), {out, in}, Role::kLinear, share});
    if (!HasBias(bias, config_)) return;
    needs_.push_back({absl::StrCat(name, ".bias"), {out}, Role::kBias, bias_share});
  }

  const ModelConfig& config_;
  const ShardSpec shard_;
  std::vector<TensorNeed> needs_;
};

}  // namespace

absl::StatusOr<const ArchSpec*> FindArch(absl::string_view name) {
  for (const ArchSpec& arch : kArchs) {
    if (name == arch.name) return &arch;
  }
  const std::string supported =
      absl::StrJoin(kArchs, ", ", [](std::string* out, const ArchSpec& arch) {
        *out += arch.name;
      });
  return absl::UnimplementedError(absl::StrCat("the architecture ",
                                               QuotedName(name),
                                               " is not supported; supported: ",
                                               supported));
}

bool HasBias(BiasRule rule, const ModelConfig& config) {
  switch (rule) {
    case BiasRule::kNever:
      return false;
    case BiasRule::kAttentionBias:
      return config.attention_bias;
    case BiasRule::kMlpBias:
      return config.mlp_bias;
  }
  CHECK(false) << "unknown bias rule";
  return false;
}

std::string LayerName(absl::string_view pattern, int64_t layer) {
  return absl::StrReplaceAll(pattern, {{"{}", absl::StrCat(layer)}});
}

std::vector<TensorNeed> NeededTensors(const ArchSpec& arch,
                                      const ModelConfig& config,
                                      const ShardSpec& shard) {
  const int64_t head = config.head_dim;
  const int64_t features = config.intermediate_size;
  NeedList needs(config, shard);
  needs.Vocabulary(arch.embedding, NeedList::Role::kEmbedding);
  for (int64_t i = 0; i < config.num_layers; ++i) {
    needs.Norm(LayerName(arch.attention_norm, i));
    needs.Column(LayerName(arch.q, i), config.num_heads, head, arch.qkv_bias);
    needs.Column(LayerName(arch.k, i), config.num_kv_heads, head, arch.qkv_bias);
    needs.Column(LayerName(arch.v, i), config.num_kv_heads, head, arch.qkv_bias);
    needs.Row(LayerName(arch.o, i), config.num_heads * head, arch.o_bias);
    needs.Norm(LayerName(arch.mlp_norm, i));
    needs.Column(LayerName(arch.gate, i), features, 1, arch.mlp_bias);
    needs.Column(LayerName(arch.up, i), features, 1, arch.mlp_bias);
    needs.Row(LayerName(arch.down, i), features, arch.mlp_bias);
  }
  needs.Norm(arch.final_norm);
  if (!config.tie_word_embeddings) needs.Vocabulary(arch.lm_head, NeedList::Role::kLinear);
  return needs.Take();
}

}  // namespace pagoda
