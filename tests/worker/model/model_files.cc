#include "tests/worker/model/model_files.h"

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/check.h"
#include "common/random.h"
#include "gtest/gtest.h"
#include "kernels/dtype.h"

namespace pagoda::testing {

TempDir::TempDir() : path_(::testing::TempDir() + "pagoda_model_XXXXXX") {
  CHECK(mkdtemp(path_.data()) != nullptr) << path_;
}

TempDir::~TempDir() { std::filesystem::remove_all(path_); }

void WriteFile(const std::string& path, const std::string& bytes) {
  std::ofstream out(path, std::ios::binary);
  out << bytes;
  out.close();
  CHECK(out.good()) << path;
}

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << in.rdbuf();
  return bytes.str();
}

std::string SafetensorsBytes(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  std::string bytes(sizeof(length), '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + header + data;
}

std::string SafetensorsBytes(const TestTensors& tensors) {
  std::string header = R"({"__metadata__": {"format": "pt"})";
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    absl::StrAppend(&header,
                    ", \"",
                    name,
                    "\": {\"dtype\": \"",
                    tensor.dtype,
                    "\", \"shape\": [",
                    absl::StrJoin(tensor.shape, ", "),
                    "], \"data_offsets\": [",
                    data.size(),
                    ", ",
                    data.size() + tensor.bytes.size(),
                    "]}");
    data += tensor.bytes;
  }
  return SafetensorsBytes(header + "}", data);
}

TestTensor F32Tensor(const std::vector<int64_t>& shape, const std::vector<float>& values) {
  std::string bytes(values.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return {"F32", shape, bytes};
}

TestTensor Bf16Tensor(const std::vector<int64_t>& shape, const std::vector<float>& values) {
  std::string bytes;
  for (const float value : values) {
    const uint16_t bits = F32ToBf16(value);
    bytes.append(reinterpret_cast<const char*>(&bits), sizeof(bits));
  }
  return {"BF16", shape, bytes};
}

std::string TinyConfig(bool tied) {
  return absl::StrCat(R"({"architectures": ["LlamaForCausalLM"], "hidden_act": "silu",
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 16, "max_position_embeddings": 64,
    "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "torch_dtype": "bfloat16", "eos_token_id": 2,
    "tie_word_embeddings": )",
                      tied ? "true" : "false",
                      "}");
}

TestTensors TinyWeights(bool tied) {
  TestTensors tensors;
  int seed = 0;
  const auto add = [&](const std::string& name, const std::vector<int64_t>& shape) {
    const int64_t count = shape[0] * (shape.size() == 2 ? shape[1] : 1);
    std::vector<float> values;
    for (int64_t i = 0; i < count; ++i) {
      values.push_back(static_cast<float>((i * 37 + seed * 11) % 64 - 32) / 64);
    }
    ++seed;
    tensors[name + ".weight"] = Bf16Tensor(shape, values);
  };
  add("model.embed_tokens", {16, 32});
  for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
    add(layer + "input_layernorm", {32});
    add(layer + "self_attn.q_proj", {32, 32});
    add(layer + "self_attn.k_proj", {16, 32});
    add(layer + "self_attn.v_proj", {16, 32});
    add(layer + "self_attn.o_proj", {32, 32});
    add(layer + "post_attention_layernorm", {32});
    add(layer + "mlp.gate_proj", {48, 32});
    add(layer + "mlp.up_proj", {48, 32});
    add(layer + "mlp.down_proj", {32, 48});
  }
  add("model.norm", {32});
  if (!tied) add("lm_head", {16, 32});
  return tensors;
}

void WriteTinyModel(const std::string& directory, bool tied) {
  WriteFile(directory + "/config.json", TinyConfig(tied));
  WriteFile(directory + "/model.safetensors", SafetensorsBytes(TinyWeights(tied)));
}

std::string ShardableConfig() {
  return R"({"architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "hidden_size": 64,
    "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 32,
    "num_key_value_heads": 2, "vocab_size": 75, "max_position_embeddings": 64,
    "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "torch_dtype": "bfloat16", "eos_token_id": 2,
    "attention_bias": true, "mlp_bias": true, "tie_word_embeddings": false})";
}

TestTensors ShardableWeights() {
  TestTensors tensors;
  Random random(11);
  const auto add = [&](const std::string& name, const std::vector<int64_t>& shape) {
    std::vector<float> values(shape[0] * (shape.size() == 2 ? shape[1] : 1));
    for (float& value : values) value = static_cast<float>(random.Uniform()) - 0.5f;
    tensors[name] = Bf16Tensor(shape, values);
  };
  const auto linear = [&](const std::string& name, int64_t out, int64_t in) {
    add(name + ".weight", {out, in});
    add(name + ".bias", {out});
  };
  add("model.embed_tokens.weight", {75, 64});
  add("lm_head.weight", {75, 64});
  add("model.norm.weight", {64});
  for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
    add(layer + "input_layernorm.weight", {64});
    add(layer + "post_attention_layernorm.weight", {64});
    linear(layer + "self_attn.q_proj", 128, 64);
    linear(layer + "self_attn.k_proj", 64, 64);
    linear(layer + "self_attn.v_proj", 64, 64);
    linear(layer + "self_attn.o_proj", 64, 128);
    linear(layer + "mlp.gate_proj", 128, 64);
    linear(layer + "mlp.up_proj", 128, 64);
    linear(layer + "mlp.down_proj", 64, 128);
  }
  return tensors;
}

void WriteShardableModel(const std::string& directory) {
  WriteFile(directory + "/config.json", ShardableConfig());
  WriteFile(directory + "/model.safetensors", SafetensorsBytes(ShardableWeights()));
}

}  // namespace pagoda::testing
