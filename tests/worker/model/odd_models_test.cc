// Models of odd sizes and with odd numbers either run or are refused with a Status; they never
// crash.
#include <cmath>

#include "common/check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/worker/model/model_files.h"
#include "tests/worker/model/prompt_runner.h"
#include "worker/model/loader.h"

namespace pagoda {
namespace {

using ::testing::ContainsRegex;
using Json = nlohmann::json;
using testing::PromptLogits;
using testing::Way;
using testing::Ways;

const std::vector<int32_t> kPrompt = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

class OddModelsTest : public ::testing::Test {
 protected:
  // The tiny model with other members, with head_dim 16.
  void WriteConfig(const Json& members) {
    Json json = Json::parse(testing::TinyConfig(false));
    json["head_dim"] = 16;
    json.update(members);
    testing::WriteFile(dir_.File("config.json"), json.dump());
  }
  LoadOptions Options(const std::string& dtype, const std::string& format) {
    LoadOptions options;
    options.directory = dir_.path();
    options.dtype = dtype;
    options.load_format = format;
    return options;
  }
  testing::TempDir dir_;
};

TEST_F(OddModelsTest, RunWithTheSameFiniteLogitsOnEveryInstructionSet) {
  const std::vector<Json> models = {
      {{"hidden_size", 1}},
      {{"intermediate_size", 1}},
      {{"vocab_size", 1}},
      {{"num_hidden_layers", 1}, {"hidden_size", 33}, {"intermediate_size", 31}},
      {{"num_attention_heads", 7}, {"num_key_value_heads", 1}, {"hidden_size", 65}},
      {{"num_attention_heads", 3}, {"num_key_value_heads", 3}, {"head_dim", 48}},
      {{"num_attention_heads", 1}, {"num_key_value_heads", 1}, {"head_dim", 256}},
      {{"vocab_size", 257},
       {"tie_word_embeddings", true},
       {"mlp_bias", true},
       {"attention_bias", true}},
      {{"rms_norm_eps", 0}, {"rope_theta", 1}},
  };
  for (const Json& members : models) {
    WriteConfig(members);
    for (const std::string dtype : {"float32", "bfloat16"}) {
      std::vector<float> first;
      for (const Way& way : Ways(static_cast<int32_t>(kPrompt.size()))) {
        const auto logits = PromptLogits(Options(dtype, "dummy"), kPrompt, way);
        ASSERT_TRUE(logits.ok()) << members << logits.status();
        for (const float logit : *logits) ASSERT_TRUE(std::isfinite(logit)) << members;
        if (first.empty()) first = *logits;
        EXPECT_EQ(*logits, first) << members << dtype << way.isa;
      }
    }
  }
}

TEST_F(OddModelsTest, SizesThatTheBackendLacksAreRefusedBeforeAnyStep) {
  for (const int head_dim : {2, 8, 18, 1024}) {
    WriteConfig({{"head_dim", head_dim}});
    const auto logits = PromptLogits(Options("float32", "dummy"), kPrompt, {"auto", 4, 16});
    EXPECT_FALSE(logits.ok()) << head_dim;
    EXPECT_THAT(std::string(logits.status().message()), ContainsRegex("head_dim|RoPE"));
  }
}

TEST_F(OddModelsTest, WeightsThatAreNoNumbersRunToTheEnd) {
  const std::vector<float> odd = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e-42f, 0};
  for (size_t shift = 0; shift < odd.size(); ++shift) {
    testing::TestTensors tensors;
    WriteConfig(Json::object());
    const auto config = ReadModelConfig(dir_.path());
    CHECK_OK(config);
    for (const TensorNeed& need : NeededTensors(**FindArch("LlamaForCausalLM"), *config)) {
      int64_t count = 1;
      for (const int64_t dim : need.shape) count *= dim;
      tensors[need.name] = testing::F32Tensor(need.shape, std::vector<float>(count, odd[shift]));
    }
    testing::WriteFile(dir_.File("model.safetensors"), testing::SafetensorsBytes(tensors));
    for (const std::string dtype : {"float32", "bfloat16"}) {
      for (const Way& way : Ways(static_cast<int32_t>(kPrompt.size()))) {
        const auto logits = PromptLogits(Options(dtype, "auto"), kPrompt, way);
        EXPECT_TRUE(logits.ok()) << odd[shift] << logits.status();
        EXPECT_EQ(logits->size(), kPrompt.size() * 16);
      }
    }
  }
}

}  // namespace
}  // namespace pagoda
