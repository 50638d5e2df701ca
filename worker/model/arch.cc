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
  explicit NeedList(const ModelConfig& config) : config_(config) {}

  void Norm(const std::string& name) {
    needs_.push_back({absl::StrCat(name, ".weight"), {config_.hidden_size}, Role::kNorm});
  }
  void Matrix(const std::string& name, int64_t out, int64_t in, Role role = Role::kLinear) {
    needs_.push_back({absl::StrCat(name, ".weight"), {out, in}, role});
  }
  void Linear(const std::string& name, int64_t out, int64_t in, BiasRule bias) {
    Matrix(name, out, in);
    if (HasBias(bias, config_)) {
      needs_.push_back({absl::StrCat(name, ".bias"), {out}, Role::kBias});
    }
  }
  std::vector<TensorNeed> Take() { return std::move(needs_); }

 private:
  const ModelConfig& config_;
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

std::vector<TensorNeed> NeededTensors(const ArchSpec& arch, const ModelConfig& config) {
  const int64_t hidden = config.hidden_size;
  const int64_t q_size = config.num_heads * config.head_dim;
  const int64_t kv_size = config.num_kv_heads * config.head_dim;
  NeedList needs(config);
  needs.Matrix(arch.embedding, config.vocab_size, hidden, NeedList::Role::kEmbedding);
  for (int64_t i = 0; i < config.num_layers; ++i) {
    needs.Norm(LayerName(arch.attention_norm, i));
    needs.Linear(LayerName(arch.q, i), q_size, hidden, arch.qkv_bias);
    needs.Linear(LayerName(arch.k, i), kv_size, hidden, arch.qkv_bias);
    needs.Linear(LayerName(arch.v, i), kv_size, hidden, arch.qkv_bias);
    needs.Linear(LayerName(arch.o, i), hidden, q_size, arch.o_bias);
    needs.Norm(LayerName(arch.mlp_norm, i));
    needs.Linear(LayerName(arch.gate, i), config.intermediate_size, hidden, arch.mlp_bias);
    needs.Linear(LayerName(arch.up, i), config.intermediate_size, hidden, arch.mlp_bias);
    needs.Linear(LayerName(arch.down, i), hidden, config.intermediate_size, arch.mlp_bias);
  }
  needs.Norm(arch.final_norm);
  if (!config.tie_word_embeddings) needs.Matrix(arch.lm_head, config.vocab_size, hidden);
  return needs.Take();
}

}  // namespace pagoda
