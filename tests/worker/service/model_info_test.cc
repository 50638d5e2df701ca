#include "worker/service/model_info.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/check.h"
#include "kernels/cpu/cpu_backend.h"
#include "tests/testing/tiny_model.h"

namespace pagoda {
namespace {

using ::testing::ElementsAre;

v1::ModelInfo InfoOf(const RunnerOptions& options) {
  auto runner = Runner::Load(options, [](auto...) {});
  CHECK_OK(runner);
  return MakeModelInfo(**runner);
}

TEST(ModelInfoTest, TheDemoModelDescribesItself) {
  const v1::ModelInfo info = InfoOf({.model = "models/demo", .device = cpu::CpuDevice({})});
  EXPECT_EQ(info.architecture(), "LlamaForCausalLM");
  EXPECT_EQ(info.dtype(), "bfloat16");
  EXPECT_EQ(info.vocab_size(), 2048u);
  EXPECT_EQ(info.max_position_embeddings(), 1024u);
  EXPECT_EQ(info.num_layers(), 6u);
  EXPECT_GT(info.weight_bytes(), 10'000'000u);
  EXPECT_EQ(info.kv_bytes_per_token(), 6u * 2 * 2 * 64 * 2) << "layers, K and V, heads, size, bf16";
  EXPECT_NE(info.identity(), 0u);
  EXPECT_NE(info.divided_hash(), 0u);
  EXPECT_EQ(info.numeric_contract(), kNumericContract);
  EXPECT_THAT(info.eos_token_ids(), ElementsAre(2026, 2028));
  EXPECT_EQ(info.defaults().temperature(), 0.7f);
  EXPECT_EQ(info.defaults().top_p(), 0.95f);
  EXPECT_FALSE(info.defaults().has_top_k());
  EXPECT_FALSE(info.defaults().has_min_p());
}

TEST(ModelInfoTest, TheIdentityKnowsTheDtype) {
  const testing::TinyModel model;
  RunnerOptions options{.model = model.path(),
                        .load_format = "dummy",
                        .device = cpu::CpuDevice({})};
  const uint64_t f32 = InfoOf(options).identity();
  EXPECT_EQ(InfoOf(options).identity(), f32);
  options.dtype = "bfloat16";
  EXPECT_NE(InfoOf(options).identity(), f32);
}

}  // namespace
}  // namespace pagoda
