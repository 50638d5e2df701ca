#include "worker/model/model_config.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/escape.h"
#include "common/status.h"
#include "worker/model/arch.h"
#include "worker/model/json_file.h"
#include "worker/model/mapped_file.h"
#include "worker/model/safetensors.h"

namespace pagoda {
namespace {

using Json = nlohmann::json;

constexpr char kConfigFile[] = "config.json";
constexpr char kGenerationFile[] = "generation_config.json";
constexpr size_t kMaxConfigBytes = 4 << 20;

// Far above every published model, far below where a product of any three overflows.
constexpr int64_t kMaxDim = 1 << 20;
constexpr int64_t kMaxVocab = 1 << 22;
constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxHeads = 4096;
constexpr int64_t kMaxHeadDim = 1024;
constexpr int64_t kMaxPositions = 1 << 27;

void ReadDims(JsonFields& fields, ModelConfig* config) {
  fields.RequireInt("vocab_size", 1, kMaxVocab, &config->vocab_size);
  fields.RequireInt("hidden_size", 1, kMaxDim, &config->hidden_size);
  fields.RequireInt("intermediate_size", 1, kMaxDim, &config->intermediate_size);
  fields.RequireInt("num_hidden_layers", 1, kMaxLayers, &config->num_layers);
  fields.RequireInt("num_attention_heads", 1, kMaxHeads, &config->num_heads);
  fields.RequireInt("max_position_embeddings", 1, kMaxPositions, &config->max_position_embeddings);
  if (!fields.status().ok()) return;
  config->num_kv_heads = config->num_heads;
  fields.Int("num_key_value_heads", 1, kMaxHeads, &config->num_kv_heads);
  if (config->num_heads % config->num_kv_heads != 0) {
    fields.Fail("num_key_value_heads",
                absl::StrCat("is ",
                             config->num_kv_heads,
                             ", which does not divide num_attention_heads = ",
                             config->num_heads));
  }
  if (!fields.Has("head_dim") && config->hidden_size % config->num_heads != 0) {
    fields.Fail("num_attention_heads",
                absl::StrCat("is ",
                             config->num_heads,
                             ", which does not divide hidden_size = ",
                             config->hidden_size,
                             ", and there is no head_dim"));
  }
  config->head_dim = config->hidden_size / config->num_heads;
  fields.Int("head_dim", 2, kMaxHeadDim, &config->head_dim);
  if (config->head_dim % 2 != 0 || config->head_dim == 0 || config->head_dim > kMaxHeadDim) {
    fields.Fail(
        "head_dim",
        absl::StrCat("is ", config->head_dim, ", expected an even number from 2 to ", kMaxHeadDim));
  }
}

void ReadLlama3(JsonFields& fields, RopeConfig* rope) {
  for (const char* field :
       {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}) {
    if (!fields.Has(field)) fields.Fail(field, "is missing");
  }
  fields.Number("low_freq_factor", 1e-3, 1e6, &rope->low_freq_factor);
  fields.Number("high_freq_factor", 1e-3, 1e6, &rope->high_freq_factor);
  fields.Int("original_max_position_embeddings",
             1,
             kMaxPositions,
             &rope->original_max_position_embeddings);
  if (fields.status().ok() && rope->high_freq_factor <= rope->low_freq_factor) {
    fields.Fail("high_freq_factor",
                absl::StrCat("is ",
                             rope->high_freq_factor,
                             ", expected more than low_freq_factor = ",
                             rope->low_freq_factor));
  }
}

// Refuses what would change the angles and is not built.
absl::Status CheckRopeObject(const std::string& name, const Json& object) {
  for (const auto& [key, value] : object.items()) {
    if (!value.is_object()) continue;
    return absl::UnimplementedError(absl::StrCat(kConfigFile,
                                                 ": ",
                                                 name,
                                                 ".",
                                                 EscapeLine(key),
                                                 ": parameters by layer type are not supported"));
  }
  JsonFields fields(kConfigFile, object, name + ".");
  double rotary = 1;
  fields.Number("partial_rotary_factor", 0, 1, &rotary);
  RETURN_IF_ERROR(fields.status());
  if (rotary == 1) return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat(kConfigFile,
                                               ": ",
                                               name,
                                               ".partial_rotary_factor is ",
                                               rotary,
                                               ", only 1 is supported"));
}

// `object` is rope_scaling or rope_parameters; the kind is under rope_type, before 2024 under type.
absl::Status ReadRopeObject(const std::string& name, const Json& object, RopeConfig* rope) {
  RETURN_IF_ERROR(CheckRopeObject(name, object));
  JsonFields fields(kConfigFile, object, name + ".");
  std::string type = "default";
  fields.String("type", &type);
  fields.String("rope_type", &type);
  fields.Number("rope_theta", 1, 1e12, &rope->theta);
  RETURN_IF_ERROR(fields.status());
  if (type == "default") return absl::OkStatus();
  if (type == "linear") {
    rope->kind = RopeConfig::Kind::kLinear;
    if (!fields.Has("factor")) fields.Fail("factor", "is missing");
  } else if (type == "llama3") {
    rope->kind = RopeConfig::Kind::kLlama3;
    ReadLlama3(fields, rope);
  } else {
    return absl::UnimplementedError(absl::StrCat(kConfigFile,
                                                 ": ",
                                                 name,
                                                 " has the unsupported rope type ",
                                                 QuotedName(type),
                                                 "; supported: default, linear, llama3"));
  }
  fields.Number("factor", 1, 1e6, &rope->factor);
  return fields.status();
}

absl::Status ReadRope(JsonFields& fields, RopeConfig* rope) {
  fields.Number("rope_theta", 1, 1e12, &rope->theta);
  // As in transformers: rope_scaling, where it is not null, is the old name of the whole object.
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    const Json* object = fields.Object(name);
    RETURN_IF_ERROR(fields.status());
    if (object != nullptr) return ReadRopeObject(name, *object, rope);
  }
  return absl::OkStatus();
}

absl::StatusOr<ModelConfig> ReadConfig(const Json& json, std::vector<int64_t>* eos) {
  JsonFields fields(kConfigFile, json);
  ModelConfig config;
  std::vector<std::string> architectures;
  fields.Strings("architectures", &architectures);
  if (architectures.empty()) fields.Fail("architectures", "names no architecture");
  RETURN_IF_ERROR(fields.status());
  config.architecture = architectures[0];
  // First: the fields of an architecture that we do not know may have other names.
  ASSIGN_OR_RETURN(const ArchSpec* arch, FindArch(config.architecture));
  ReadDims(fields, &config);
  fields.Int("sliding_window", 0, kMaxPositions, &config.sliding_window);
  fields.Number("rms_norm_eps", 0, 1, &config.norm_eps);
  fields.Bool("tie_word_embeddings", &config.tie_word_embeddings);
  fields.Bool("attention_bias", &config.attention_bias);
  fields.Bool("mlp_bias", &config.mlp_bias);
  fields.String("hidden_act", &config.activation);
  fields.String("torch_dtype", &config.dtype);
  fields.String("dtype", &config.dtype);
  fields.Ints("eos_token_id", 0, INT32_MAX, eos);
  RETURN_IF_ERROR(fields.status());
  if (config.activation != arch->activation_name) {
    return absl::UnimplementedError(absl::StrCat(kConfigFile,
                                                 ": field \"hidden_act\" is ",
                                                 QuotedName(config.activation),
                                                 ", ",
                                                 config.architecture,
                                                 " supports ",
                                                 arch->activation_name));
  }
  if (fields.Has("quantization_config")) {
    return absl::UnimplementedError(
        absl::StrCat(kConfigFile,
                     ": field \"quantization_config\": quantised weights are not supported"));
  }
  RETURN_IF_ERROR(ReadRope(fields, &config.rope));
  return config;
}

absl::Status ReadGeneration(const Json& json,
                            SamplingDefaults* sampling,
                            std::vector<int64_t>* eos) {
  JsonFields fields(kGenerationFile, json);
  fields.Ints("eos_token_id", 0, INT32_MAX, eos);
  fields.Number("temperature", 0, 1e6, &sampling->temperature);
  fields.Number("top_p", 1e-12, 1, &sampling->top_p);
  fields.Number("min_p", 0, 1, &sampling->min_p);
  fields.Number("repetition_penalty", 1e-6, 1e6, &sampling->repetition_penalty);
  if (fields.Has("top_k")) fields.Int("top_k", -1, INT32_MAX, &sampling->top_k.emplace(0));
  return fields.status();
}

}  // namespace

absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view config_json,
                                             absl::string_view generation_json) {
  std::vector<int64_t> eos;
  ASSIGN_OR_RETURN(const Json json, ParseJsonObject(kConfigFile, config_json));
  ASSIGN_OR_RETURN(ModelConfig config, ReadConfig(json, &eos));
  if (!generation_json.empty()) {
    ASSIGN_OR_RETURN(const Json generation, ParseJsonObject(kGenerationFile, generation_json));
    RETURN_IF_ERROR(ReadGeneration(generation, &config.sampling, &eos));
  }
  std::sort(eos.begin(), eos.end());
  eos.erase(std::unique(eos.begin(), eos.end()), eos.end());
  for (const int64_t id : eos) {
    // Files of shrunk models keep the ids of the large one; an id that cannot be drawn is harmless.
    if (id < config.vocab_size) config.eos_token_ids.push_back(static_cast<int32_t>(id));
  }
  return config;
}

absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& directory) {
  ASSIGN_OR_RETURN(const std::string config,
                   ReadSmallFile(absl::StrCat(directory, "/", kConfigFile), kMaxConfigBytes));
  absl::StatusOr<std::string> generation =
      ReadSmallFile(absl::StrCat(directory, "/", kGenerationFile), kMaxConfigBytes);
  if (!generation.ok()) {
    if (!absl::IsNotFound(generation.status())) return generation.status();
    generation = "";
  } else if (generation->empty()) {
    return absl::InvalidArgumentError(absl::StrCat(directory, "/", kGenerationFile, " is empty"));
  }
  absl::StatusOr<ModelConfig> parsed = ParseModelConfig(config, *generation);
  if (parsed.ok()) return parsed;
  return absl::Status(parsed.status().code(),
                      absl::StrCat(directory, "/", parsed.status().message()));
}

absl::StatusOr<int64_t> ResolveMaxModelLen(const ModelConfig& config, int64_t requested) {
  if (requested == 0) return config.max_position_embeddings;
  if (requested < 0 || requested > config.max_position_embeddings) {
    return absl::InvalidArgumentError(
        absl::StrCat("--max-model-len is ",
                     requested,
                     ", expected 1 to the model's max_position_embeddings = ",
                     config.max_position_embeddings));
  }
  return requested;
}

std::string CanonicalConfig(const ModelConfig& config) {
  const RopeConfig& rope = config.rope;
  const auto exact = [](double value) { return absl::StrFormat("%a", value); };
  return absl::StrCat(config.architecture,
                      " ",
                      config.activation,
                      " ",
                      absl::StrJoin({config.vocab_size,
                                     config.hidden_size,
                                     config.intermediate_size,
                                     config.num_layers,
                                     config.num_heads,
                                     config.num_kv_heads,
                                     config.head_dim,
                                     config.sliding_window,
                                     int64_t{config.tie_word_embeddings},
                                     int64_t{config.attention_bias},
                                     int64_t{config.mlp_bias}},
                                    ","),
                      " ",
                      exact(config.norm_eps),
                      " rope ",
                      static_cast<int>(rope.kind),
                      " ",
                      absl::StrJoin({exact(rope.theta),
                                     exact(rope.factor),
                                     exact(rope.low_freq_factor),
                                     exact(rope.high_freq_factor)},
                                    ","),
                      " ",
                      rope.original_max_position_embeddings);
}

}  // namespace pagoda
