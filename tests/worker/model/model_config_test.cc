#include "worker/model/model_config.h"

#include <cmath>

#include "common/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/worker/model/model_files.h"

namespace pagoda {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;
using testing::TempDir;
using testing::WriteFile;

Json Base() { return Json::parse(testing::TinyConfig(false)); }

absl::StatusOr<ModelConfig> Parse(const Json& json, const std::string& generation = "") {
  return ParseModelConfig(json.dump(), generation);
}

// The tiny configuration with some members replaced.
absl::StatusOr<ModelConfig> With(const Json& members) {
  Json json = Base();
  json.update(members);
  return Parse(json);
}

TEST(ModelConfigTest, ReadsTheOldSpelling) {
  Json json = Base();
  json["rope_theta"] = 500000.0;
  json["torch_dtype"] = "float16";
  json["rope_scaling"] = {{"rope_type", "llama3"},
                          {"factor", 8.0},
                          {"low_freq_factor", 1.0},
                          {"high_freq_factor", 4.0},
                          {"original_max_position_embeddings", 8192}};
  const auto config = Parse(json);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->architecture, "LlamaForCausalLM");
  EXPECT_EQ(config->dtype, "float16");
  EXPECT_EQ(config->hidden_size, 32);
  EXPECT_EQ(config->intermediate_size, 48);
  EXPECT_EQ(config->num_layers, 2);
  EXPECT_EQ(config->num_heads, 4);
  EXPECT_EQ(config->num_kv_heads, 2);
  EXPECT_EQ(config->head_dim, 8);
  EXPECT_EQ(config->vocab_size, 16);
  EXPECT_EQ(config->max_position_embeddings, 64);
  EXPECT_EQ(config->norm_eps, 1e-5);
  EXPECT_EQ(config->rope.kind, RopeConfig::Kind::kLlama3);
  EXPECT_EQ(config->rope.theta, 500000);
  EXPECT_EQ(config->rope.factor, 8);
  EXPECT_EQ(config->rope.original_max_position_embeddings, 8192);
}

TEST(ModelConfigTest, ReadsTheNewSpellingToTheSameConfiguration) {
  Json old = Base(), young = Base();
  old["rope_theta"] = 500000.0;
  old["rope_scaling"] = {{"type", "linear"}, {"factor", 4}};
  old["torch_dtype"] = "bfloat16";
  young.erase("rope_theta");
  young.erase("torch_dtype");
  young["dtype"] = "bfloat16";
  young["rope_parameters"] = {{"rope_type", "linear"}, {"factor", 4}, {"rope_theta", 500000.0}};
  const auto a = Parse(old), b = Parse(young);
  ASSERT_TRUE(a.ok() && b.ok()) << a.status() << b.status();
  EXPECT_EQ(a->dtype, b->dtype);
  EXPECT_EQ(b->rope.kind, RopeConfig::Kind::kLinear);
  EXPECT_EQ(CanonicalConfig(*a), CanonicalConfig(*b));
}

TEST(ModelConfigTest, NullAndAbsentFieldsHaveTheDefaultsOfTransformers) {
  Json json = Base();
  for (const char* field : {"num_key_value_heads",
                            "rms_norm_eps",
                            "rope_theta",
                            "torch_dtype",
                            "tie_word_embeddings",
                            "eos_token_id"}) {
    json.erase(field);
  }
  json["head_dim"] = nullptr;
  json["rope_scaling"] = nullptr;
  json["sliding_window"] = nullptr;
  const auto config = Parse(json);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->num_kv_heads, 4);
  EXPECT_EQ(config->head_dim, 8);
  EXPECT_EQ(config->norm_eps, 1e-6);
  EXPECT_EQ(config->rope.theta, 10000);
  EXPECT_EQ(config->rope.kind, RopeConfig::Kind::kPlain);
  EXPECT_FALSE(config->tie_word_embeddings);
  EXPECT_EQ(config->dtype, "");
  EXPECT_EQ(config->sliding_window, 0);
  EXPECT_THAT(config->eos_token_ids, ElementsAre());
}

TEST(ModelConfigTest, HeadDimMayDifferFromHiddenOverHeads) {
  const auto config = With({{"head_dim", 64}, {"num_attention_heads", 6}});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->head_dim, 64);
}

using BadFields = std::vector<std::pair<Json, std::string>>;  // members, a part of the message

BadFields BadSizes() {
  return {
      {{{"vocab_size", 0}},
       "config.json: field \"vocab_size\" is 0, expected an integer from 1 to"},
      {{{"vocab_size", nullptr}}, "\"vocab_size\" is missing"},
      {{{"vocab_size", 18446744073709551615u}}, "\"vocab_size\" is 18446744073709551615"},
      {{{"hidden_size", -32}}, "\"hidden_size\" is -32"},
      {{{"hidden_size", 32.5}}, "\"hidden_size\" is 32.5"},
      {{{"hidden_size", 1 << 21}}, "1 to 1048576"},
      {{{"intermediate_size", "48"}}, "\"intermediate_size\" is \"48\""},
      {{{"num_hidden_layers", 100000}}, "\"num_hidden_layers\" is 100000"},
      {{{"num_attention_heads", 0}}, "\"num_attention_heads\" is 0"},
      {{{"num_attention_heads", 6}}, "does not divide"},
      {{{"num_key_value_heads", 3}}, "does not divide num_attention_heads = 4"},
      {{{"head_dim", 7}}, "expected an even number"},
      {{{"head_dim", 4096}}, "\"head_dim\" is 4096"},
      {{{"max_position_embeddings", 0}}, "\"max_position_embeddings\" is 0"},
  };
}

BadFields BadOthers() {
  return {
      {{{"rms_norm_eps", -1}}, "\"rms_norm_eps\" is -1"},
      {{{"rope_theta", 0}}, "\"rope_theta\" is 0"},
      {{{"tie_word_embeddings", 1}}, "\"tie_word_embeddings\" is 1, expected true or false"},
      {{{"hidden_act", 3}}, "expected a string"},
      {{{"architectures", "LlamaForCausalLM"}}, "expected a list of strings"},
      {{{"architectures", Json::array()}}, "names no architecture"},
      {{{"eos_token_id", -1}}, "\"eos_token_id\" is -1"},
      {{{"eos_token_id", {1, "2"}}}, "\"eos_token_id\" is \"2\""},
      {{{"rope_scaling", 3}}, "\"rope_scaling\" is 3, expected an object"},
      {{{"rope_scaling", {{"type", "linear"}}}}, "\"rope_scaling.factor\" is missing"},
      {{{"rope_scaling", {{"type", "linear"}, {"factor", 0}}}}, "\"rope_scaling.factor\" is 0"},
      {{{"rope_scaling", {{"type", "llama3"}, {"factor", 8}}}}, "low_freq_factor\" is missing"},
      {{{"rope_parameters",
         {{"rope_type", "llama3"},
          {"factor", 8},
          {"low_freq_factor", 4},
          {"high_freq_factor", 4},
          {"original_max_position_embeddings", 64}}}},
       "rope_parameters.high_freq_factor\" is 4, expected more than"},
  };
}

TEST(ModelConfigTest, BadFieldsAreInvalidArgumentsThatNameFileFieldAndLimit) {
  BadFields cases = BadSizes();
  for (auto& bad : BadOthers()) cases.push_back(bad);
  for (const auto& [members, message] : cases) {
    const absl::Status status = With(members).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << message;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message)) << members;
    EXPECT_THAT(std::string(status.message()), HasSubstr("config.json")) << members;
  }
}

TEST(ModelConfigTest, WhatIsKnownButNotBuiltIsUnimplementedByName) {
  const std::vector<std::pair<Json, std::string>> cases = {
      {{{"architectures", {"GPT2LMHeadModel"}}},
       "\"GPT2LMHeadModel\" is not supported; supported: LlamaForCausalLM"},
      {{{"rope_scaling", {{"type", "dynamic"}, {"factor", 2}}}},
       "unsupported rope type \"dynamic\""},
      {{{"rope_parameters", {{"rope_type", "yarn"}, {"factor", 2}}}}, "rope type \"yarn\""},
      {{{"rope_parameters", {{"full_attention", {{"rope_type", "linear"}}}}}}, "by layer type"},
      {{{"rope_parameters", {{"partial_rotary_factor", 0.5}}}}, "partial_rotary_factor is 0.5"},
      {{{"hidden_act", "gelu"}}, "\"hidden_act\" is \"gelu\", LlamaForCausalLM supports silu"},
      {{{"quantization_config", {{"quant_method", "awq"}}}}, "quantised weights"},
  };
  for (const auto& [members, message] : cases) {
    const absl::Status status = With(members).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << message;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
}

TEST(ModelConfigTest, AnUnknownArchitectureIsNamedBeforeItsFieldsAreMissed) {
  EXPECT_EQ(ParseModelConfig(R"({"architectures": ["T5"]})", "").status().code(),
            absl::StatusCode::kUnimplemented);
}

TEST(ModelConfigTest, BrokenJsonIsRefused) {
  const std::string valid = testing::TinyConfig(true);
  for (const std::string& text :
       {std::string(),
        std::string("nul"),
        std::string("[1]"),
        valid + "}",
        "\xff" + valid,
        "{\"a\": " + std::string(100000, '[') + std::string(100000, ']') + "}",
        std::string(R"({"vocab_size": 1, "vocab_size": 2})"),
        std::string(R"({"a": NaN})"),
        std::string(R"({"a": 1e999})")}) {
    const absl::Status status = ParseModelConfig(text, "").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text.substr(0, 40);
    EXPECT_THAT(std::string(status.message()), HasSubstr("config.json")) << text.substr(0, 40);
  }
  for (size_t size = 0; size < valid.size(); ++size) {
    ASSERT_FALSE(ParseModelConfig(valid.substr(0, size), "").ok()) << size;
  }
}

// Whatever is accepted lies within the limits that later arithmetic relies on.
TEST(ModelConfigTest, RandomDamageGivesAnErrorOrAConfigurationWithinTheLimits) {
  const std::string valid = testing::TinyConfig(true);
  Random random(11);
  int accepted = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string text = valid;
    for (uint64_t flips = 1 + random.Below(3); flips > 0; --flips) {
      const char bytes[] = "0123456789-.eE\"{}[],: ntf\\\xff";
      text[random.Below(text.size())] = bytes[random.Below(sizeof(bytes))];
    }
    const auto config = ParseModelConfig(text, random.Bernoulli(0.5) ? text : "");
    if (!config.ok()) continue;
    ++accepted;
    ASSERT_EQ(config->num_heads % config->num_kv_heads, 0) << text;
    ASSERT_TRUE(config->head_dim >= 2 && config->head_dim % 2 == 0) << text;
    ASSERT_TRUE(config->hidden_size >= 1 && config->hidden_size <= 1 << 20) << text;
    ASSERT_TRUE(config->rope.theta >= 1 && std::isfinite(config->rope.theta)) << text;
    for (const int32_t id : config->eos_token_ids) ASSERT_LT(id, config->vocab_size) << text;
  }
  EXPECT_GT(accepted, 100);
  EXPECT_LT(accepted, 3900);
}

TEST(ModelConfigTest, StopIdsOfBothFilesTogetherNumberOrList) {
  Json json = Base();
  json["eos_token_id"] = {7, 3, 99};  // 99 is no token of this vocabulary
  const auto config = Parse(json, R"({"eos_token_id": 3})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(config->eos_token_ids, ElementsAre(3, 7));
  const auto swapped = Parse(Base(), R"({"eos_token_id": [5, 4]})");
  ASSERT_TRUE(swapped.ok());
  EXPECT_THAT(swapped->eos_token_ids, ElementsAre(2, 4, 5));
}

TEST(ModelConfigTest, SamplingDefaultsAreThoseTheFileNames) {
  const auto config = Parse(
      Base(),
      R"({"temperature": 0.7, "top_p": 0.95, "top_k": 50, "min_p": 0.1, "do_sample": false})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->sampling.temperature, 0.7);
  EXPECT_EQ(config->sampling.top_p, 0.95);
  EXPECT_EQ(config->sampling.top_k, 50);
  EXPECT_EQ(config->sampling.min_p, 0.1);
  EXPECT_EQ(config->sampling.repetition_penalty, std::nullopt);
  const auto none = Parse(Base(), "{}");
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(none->sampling.temperature, std::nullopt);
  EXPECT_EQ(none->sampling.top_k, std::nullopt);
}

TEST(ModelConfigTest, BadSamplingDefaultsNameTheirFile) {
  for (const char* text : {R"({"temperature": -1})",
                           R"({"top_p": 0})",
                           R"({"top_p": 1.1})",
                           R"({"top_k": -2})",
                           R"({"min_p": 2})",
                           R"({"temperature": "hot"})",
                           R"({"repetition_penalty": 0})",
                           "3"}) {
    const absl::Status status = Parse(Base(), text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr("generation_config.json")) << text;
  }
}

TEST(ModelConfigTest, ReadsTheFilesOfADirectory) {
  const TempDir dir;
  EXPECT_EQ(ReadModelConfig(dir.path()).status().code(), absl::StatusCode::kNotFound);
  WriteFile(dir.File("config.json"), testing::TinyConfig(true));
  auto config = ReadModelConfig(dir.path());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(config->eos_token_ids, ElementsAre(2));
  WriteFile(dir.File("generation_config.json"), R"({"eos_token_id": 9})");
  config = ReadModelConfig(dir.path());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(config->eos_token_ids, ElementsAre(2, 9));
  WriteFile(dir.File("generation_config.json"), "");
  EXPECT_FALSE(ReadModelConfig(dir.path()).ok());
  WriteFile(dir.File("config.json"), std::string(5 << 20, ' '));
  EXPECT_THAT(std::string(ReadModelConfig(dir.path()).status().message()),
              HasSubstr("the limit is 4194304"));
}

TEST(ModelConfigTest, MaxModelLenIsTheModelsUnlessLower) {
  const auto config = With(Json::object());
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(*ResolveMaxModelLen(*config, 0), 64);
  EXPECT_EQ(*ResolveMaxModelLen(*config, 1), 1);
  EXPECT_EQ(*ResolveMaxModelLen(*config, 64), 64);
  for (const int64_t bad : {int64_t{65}, int64_t{-1}, INT64_MAX, INT64_MIN}) {
    const absl::Status status = ResolveMaxModelLen(*config, bad).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("max_position_embeddings = 64"));
  }
}

TEST(ModelConfigTest, TheCanonicalTextChangesWithWhateverChangesOutputs) {
  const std::string base = CanonicalConfig(*With(Json::object()));
  EXPECT_EQ(CanonicalConfig(*With({{"max_position_embeddings", 63}, {"eos_token_id", 5}})), base);
  for (const Json& members :
       std::vector<Json>{{{"rope_theta", 10001}},
                         {{"rms_norm_eps", 2e-5}},
                         {{"tie_word_embeddings", true}},
                         {{"num_key_value_heads", 4}},
                         {{"rope_scaling", {{"type", "linear"}, {"factor", 2}}}}}) {
    EXPECT_NE(CanonicalConfig(*With(members)), base) << members;
  }
}

}  // namespace
}  // namespace pagoda
