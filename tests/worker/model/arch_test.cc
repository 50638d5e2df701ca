#include "worker/model/arch.h"

#include <set>

#include "gtest/gtest.h"
#include "tests/worker/model/model_files.h"
#include "worker/model/model_config.h"

namespace pagoda {
namespace {

std::map<std::string, std::vector<int64_t>> Shapes(const ModelConfig& config) {
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const TensorNeed& need : NeededTensors(**FindArch(config.architecture), config)) {
    EXPECT_TRUE(shapes.emplace(need.name, need.shape).second) << need.name;
  }
  return shapes;
}

TEST(ArchTest, LlamaNeedsTheTensorsOfAHuggingFaceCheckpoint) {
  for (const bool tied : {true, false}) {
    const auto config = ParseModelConfig(testing::TinyConfig(tied), "");
    ASSERT_TRUE(config.ok()) << config.status();
    std::map<std::string, std::vector<int64_t>> expected;
    for (const auto& [name, tensor] : testing::TinyWeights(tied)) expected[name] = tensor.shape;
    EXPECT_EQ(Shapes(*config), expected);
  }
}

TEST(ArchTest, BiasesAreNeededWhereTheConfigurationSaysSo) {
  auto config = ParseModelConfig(testing::TinyConfig(true), "");
  ASSERT_TRUE(config.ok());
  const size_t without = Shapes(*config).size();
  config->attention_bias = true;
  auto shapes = Shapes(*config);
  EXPECT_EQ(shapes.size(), without + 2 * 4);
  EXPECT_EQ(shapes.at("model.layers.1.self_attn.k_proj.bias"), (std::vector<int64_t>{16}));
  EXPECT_EQ(shapes.at("model.layers.0.self_attn.o_proj.bias"), (std::vector<int64_t>{32}));
  config->mlp_bias = true;
  shapes = Shapes(*config);
  EXPECT_EQ(shapes.size(), without + 2 * 7);
  EXPECT_EQ(shapes.at("model.layers.0.mlp.up_proj.bias"), (std::vector<int64_t>{48}));
}

}  // namespace
}  // namespace pagoda
