// The same promise on a CUDA device, with a small model: what a request gives depends on nothing
// but the request and the model. In f32 it is what a CPU gives.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/random.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/device_info.h"
#include "tests/equality/local_group.h"
#include "tests/testing/tiny_model.h"

namespace pagoda::testing {
namespace {

constexpr int kPrompts = 8;
constexpr uint32_t kBlocks = 100;  // enough; the fake device's memory costs time
constexpr int kVocabulary = 193;   // no multiple of what a kernel takes at once

TinyModelOptions ModelOptions() {
  return {.vocab_size = kVocabulary,
          .hidden_size = 64,
          .intermediate_size = 64,
          .num_layers = 2,
          .num_heads = 4,
          .num_kv_heads = 2,
          .head_dim = 64,
          .max_position_embeddings = 512};
}

// Half greedy, half sampled; one crosses a 256-token chunk of attention.
std::vector<Prompt> MakePrompts() {
  Random random(20261127);
  std::vector<Prompt> prompts;
  for (int i = 0; i < kPrompts; ++i) {
    Prompt prompt;
    for (uint64_t t = i == 3 ? 252 : 1 + random.Below(30); t > 0; --t) {
      prompt.tokens.push_back(static_cast<int32_t>(random.Below(kVocabulary)));
    }
    prompt.max_tokens = 5 + static_cast<uint32_t>(random.Below(5));
    prompt.sampling = {.temperature = 0, .seed = random.Next64(), .logprobs = 2};
    if (i % 2 == 1) prompt.sampling.temperature = 0.9f;
    if (i % 4 == 1) prompt.sampling.top_p = 0.8f;
    if (i % 4 == 3) prompt.sampling.top_k = 20;
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

std::vector<GroupSettings> AllSettings() {
  return {
      {.name = "a batch"},
      {.name = "depth 1, blocks of 32", .depth = 1, .block_size = 32},
      {.name = "chunks of 16, blocks of 64",
       .block_size = 64,
       .max_lanes = 4,
       .max_step_tokens = 16},
      {.name = "chunks of 61, blocks of 128",
       .block_size = 128,
       .max_lanes = 8,
       .max_step_tokens = 61},
      {.name = "a tiny pool, blocks of 8", .block_size = 8, .num_blocks = 36},
      {.name = "a worker that dies every 4 steps", .kill_every = 4},
      {.name = "2 ranks through the host, a tiny pool, deaths",
       .ranks = 2,
       .comm_backend = "local",
       .block_size = 8,
       .num_blocks = 36,
       .max_step_tokens = 100,
       .kill_every = 8},
      {.name = "2 ranks through NCCL", .ranks = 2, .comm_backend = "nccl"},
  };
}

class CudaEqualityTest : public ::testing::TestWithParam<const char*> {
 protected:
  GroupRun Run(GroupSettings settings) const {
    settings.device = cuda::CudaDevice({});
    settings.num_blocks = std::min(settings.num_blocks, kBlocks);
    return RunGroup(model_.path(), GetParam(), settings, prompts_);
  }

  void ExpectEqual(const GroupRun& run, const GroupRun& expected, const std::string& name) const {
    ASSERT_EQ(run.outputs.size(), prompts_.size());
    for (size_t i = 0; i < prompts_.size(); ++i) {
      ASSERT_EQ(run.outputs[i].tokens.size(), prompts_[i].max_tokens);
      ASSERT_EQ(run.outputs[i], expected.outputs[i]) << name << ", prompt " << i;
    }
  }

  const TinyModel model_{ModelOptions()};
  const std::vector<Prompt> prompts_ = MakePrompts();
};

TEST_P(CudaEqualityTest, OutputDependsOnNothingButTheRequest) {
  const GroupRun alone = Run({.name = "alone", .one_at_a_time = true});
  for (const GroupSettings& settings : AllSettings()) {
    if (settings.comm_backend == "nccl" && cuda::NumDevices().value() < settings.ranks) {
      std::puts("skipped: NCCL between 2 ranks needs 2 devices");
      continue;
    }
    const GroupRun run = Run(settings);
    ExpectEqual(run, alone, settings.name);
    // Each setting must do what it is named for.
    EXPECT_GE(run.stats.preemptions, settings.num_blocks == 36 ? 1u : 0u) << settings.name;
    EXPECT_GE(run.stats.epochs, settings.kill_every > 0 ? 2u : 1u) << settings.name;
  }
}

// In bf16 devices add in another order.
class CudaAndCpuTest : public CudaEqualityTest {};

TEST_P(CudaAndCpuTest, GiveTheSameBytes) {
  ExpectEqual(Run({}), RunGroup(model_.path(), GetParam(), {}, prompts_), "on a CPU");
}

INSTANTIATE_TEST_SUITE_P(Types,
                         CudaEqualityTest,
                         ::testing::Values("bfloat16", "float32"),
                         [](const auto& info) { return std::string(info.param); });
INSTANTIATE_TEST_SUITE_P(Float32, CudaAndCpuTest, ::testing::Values("float32"));

}  // namespace
}  // namespace pagoda::testing
