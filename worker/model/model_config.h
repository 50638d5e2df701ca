// What config.json and generation_config.json of a model directory say, checked. Both spellings of
// config.json are read: `dtype` and `rope_parameters` (transformers 5), `torch_dtype`, `rope_theta`
// and `rope_scaling` (before). Plain values; nothing here touches weights.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace pagoda {

struct RopeConfig {
  enum class Kind { kPlain, kLinear, kLlama3 };
  Kind kind = Kind::kPlain;
  double theta = 10000;
  double factor = 1;                             // kLinear, kLlama3
  double low_freq_factor = 1;                    // kLlama3
  double high_freq_factor = 4;                   // kLlama3
  int64_t original_max_position_embeddings = 0;  // tokens; kLlama3
};

// From generation_config.json, as vLLM takes them: the values of the file, whatever its do_sample
// says. Absent stays absent.
struct SamplingDefaults {
  std::optional<double> temperature;
  std::optional<double> top_p;
  std::optional<double> min_p;
  std::optional<int64_t> top_k;
  std::optional<double> repetition_penalty;
};

struct ModelConfig {
  std::string architecture;  // the first of `architectures`
  std::string dtype;         // as written: "bfloat16", "float32", "float16"; empty when absent
  std::string activation = "silu";
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;             // divides num_heads
  int64_t head_dim = 0;                 // even
  int64_t max_position_embeddings = 0;  // tokens
  int64_t sliding_window = 0;  // tokens a query sees; 0 for all. The architecture decides its use
  double norm_eps = 1e-6;
  bool tie_word_embeddings = false;
  bool attention_bias = false;
  bool mlp_bias = false;
  RopeConfig rope;
  std::vector<int32_t> eos_token_ids;  // of both files, ascending, each once, below vocab_size
  SamplingDefaults sampling;
};

// Reads DIR/config.json and, where there is one, DIR/generation_config.json. NotFound when the
// directory or config.json is missing, InvalidArgument naming file and field, Unimplemented for
// what we know and do not support (quantised weights, rope types).
absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& directory);

// The same from the files' contents; an empty `generation_json` is an absent file.
absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view config_json,
                                             absl::string_view generation_json);

// The length to serve: `requested` when positive, the model's own limit when 0. InvalidArgument
// when it is negative or beyond max_position_embeddings.
absl::StatusOr<int64_t> ResolveMaxModelLen(const ModelConfig& config, int64_t requested);

// All that changes a model's outputs, as text; part of the fingerprint.
std::string CanonicalConfig(const ModelConfig& config);

}  // namespace pagoda
