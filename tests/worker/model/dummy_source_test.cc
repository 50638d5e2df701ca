#include <cmath>

#include "common/check.h"
#include "common/hash.h"
#include "common/philox.h"
#include "gtest/gtest.h"
#include "tests/worker/model/model_files.h"
#include "worker/model/model_config.h"
#include "worker/model/tensor_source.h"

namespace pagoda {
namespace {

ModelConfig Config() {
  auto config = ParseModelConfig(testing::TinyConfig(false), "");
  CHECK_OK(config);
  config->hidden_size = 300;
  config->head_dim = 50;
  config->attention_bias = true;
  return *config;
}

std::vector<float> Values(TensorSource& source, const std::string& name) {
  const auto tensor = source.Get(name);
  CHECK_OK(tensor);
  const float* data = static_cast<const float*>(tensor->view.data);
  return {data, data + tensor->view.rows * tensor->view.cols};
}

class DummySourceTest : public ::testing::Test {
 protected:
  ModelConfig config_ = Config();
  std::unique_ptr<TensorSource> source_ = MakeDummySource(**FindArch("LlamaForCausalLM"), config_);
};

TEST_F(DummySourceTest, MatricesHaveMeanZeroAndVarianceOneOverTheirColumns) {
  const std::vector<float> values = Values(*source_, "model.layers.0.self_attn.q_proj.weight");
  ASSERT_EQ(values.size(), 200u * 300);
  double sum = 0, squares = 0;
  for (const float value : values) {
    sum += value;
    squares += value * value;
  }
  EXPECT_NEAR(sum / values.size(), 0, 1e-3);
  EXPECT_NEAR(squares / values.size() * 300, 1, 0.02);
}

TEST_F(DummySourceTest, NormsAreNearOneAndBiasesSmall) {
  for (const float value : Values(*source_, "model.norm.weight")) {
    EXPECT_GE(value, 0.9f);
    EXPECT_LE(value, 1.1f);
  }
  const std::vector<float> bias = Values(*source_, "model.layers.1.self_attn.k_proj.bias");
  ASSERT_EQ(bias.size(), 100u);
  for (const float value : bias) EXPECT_LE(std::abs(value), 0.1f);
}

TEST_F(DummySourceTest, AnElementDependsOnNameAndIndexAlone) {
  const std::string name = "model.norm.weight";
  const std::vector<float> values = Values(*source_, name);
  const uint64_t key = Hash64(name);
  for (const uint32_t i : {0u, 1u, 7u, 299u}) {
    const uint32_t random =
        Philox4x32({i / 4, 0, 0, 0},
                   {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)})[i % 4];
    EXPECT_EQ(values[i], 1 + 0.1f * (2 * UniformOpen(random) - 1)) << i;
  }
  EXPECT_EQ(Values(*source_, name), values);
  EXPECT_NE(Values(*source_, "model.layers.0.input_layernorm.weight"), values);
}

TEST_F(DummySourceTest, CountsTheBytesItMakes) {
  for (const TensorNeed& need : NeededTensors(**FindArch("LlamaForCausalLM"), config_)) {
    EXPECT_LT(source_->bytes_read(), source_->bytes_total());
    Values(*source_, need.name);
  }
  EXPECT_EQ(source_->bytes_read(), source_->bytes_total());
}

}  // namespace
}  // namespace pagoda
