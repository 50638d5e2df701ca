// The promise itself: what a request gives depends on nothing but the request and the model. One
// random model, every way to run it, all outputs byte for byte.
#include <gtest/gtest.h>

#include <vector>

#include "common/random.h"
#include "kernels/cpu/isa.h"
#include "tests/equality/local_group.h"
#include "tests/testing/tiny_model.h"

namespace pagoda::testing {
namespace {

constexpr int kPrompts = 64;
constexpr int kVocabulary = 512;

// Half greedy, half sampled; lengths that cross blocks and, some, a 256-token chunk of attention.
std::vector<Prompt> MakePrompts() {
  Random random(20260101);
  std::vector<Prompt> prompts;
  for (int i = 0; i < kPrompts; ++i) {
    Prompt prompt;
    const uint64_t length = i % 16 == 0 ? 240 + random.Below(40) : 1 + random.Below(70);
    for (uint64_t t = 0; t < length; ++t) {
      prompt.tokens.push_back(static_cast<int32_t>(random.Below(kVocabulary)));
    }
    prompt.max_tokens = 8 + static_cast<uint32_t>(random.Below(24));
    prompt.sampling = {.temperature = 0, .seed = random.Next64(), .logprobs = 2};
    if (i % 2 == 1) prompt.sampling.temperature = 0.9f;
    if (i % 4 == 1) prompt.sampling.top_p = 0.8f;
    if (i % 4 == 3) prompt.sampling.top_k = 20;
    if (i % 8 == 7) prompt.sampling.min_p = 0.02f;
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

std::vector<GroupSettings> AllSettings() {
  std::vector<GroupSettings> all = {
      {.name = "a batch of 32"},
      {.name = "chunks of 1 token", .max_lanes = 1, .max_step_tokens = 1},
      {.name = "chunks of 7 tokens", .max_lanes = 7, .max_step_tokens = 7},
      {.name = "chunks of 16 tokens", .max_lanes = 16, .max_step_tokens = 16},
      {.name = "depth 1", .depth = 1},
      {.name = "depth 1, a tiny pool", .depth = 1, .block_size = 8, .num_blocks = 45},
      {.name = "a tiny pool", .block_size = 8, .num_blocks = 45},
      {.name = "2 threads", .threads = 2},
      {.name = "3 threads, chunks of 16", .threads = 3, .max_lanes = 16, .max_step_tokens = 16},
      {.name = "a worker that dies every 9 steps", .kill_every = 9},
      {.name = "a dying worker with a tiny pool",
       .block_size = 8,
       .num_blocks = 60,
       .kill_every = 40},
  };
  for (const uint32_t size : {8, 32, 64, 128}) {
    all.push_back({.name = "blocks of " + std::to_string(size), .block_size = size});
  }
  for (const char* isa : {"scalar", "avx2", "avx512"}) {
    if (!cpu::ChooseIsa(isa).ok()) continue;
    all.push_back({.name = isa, .cpu_isa = isa});
    all.push_back({.name = std::string(isa) + ", 2 threads, blocks of 32, chunks of 16",
                   .cpu_isa = isa,
                   .threads = 2,
                   .block_size = 32,
                   .max_lanes = 16,
                   .max_step_tokens = 16});
  }
  return all;
}

class ByteEqualityTest : public ::testing::TestWithParam<const char*> {};

TEST_P(ByteEqualityTest, OutputDependsOnNothingButTheRequest) {
  const TinyModel model({.vocab_size = kVocabulary});
  const std::vector<Prompt> prompts = MakePrompts();
  const GroupRun alone =
      RunGroup(model.path(), GetParam(), {.name = "alone", .one_at_a_time = true}, prompts);
  size_t compared = 0;
  for (const GroupSettings& settings : AllSettings()) {
    const GroupRun run = RunGroup(model.path(), GetParam(), settings, prompts);
    ASSERT_EQ(run.outputs.size(), prompts.size());
    for (size_t i = 0; i < prompts.size(); ++i) {
      ASSERT_EQ(run.outputs[i].tokens.size(), prompts[i].max_tokens);
      ASSERT_EQ(run.outputs[i], alone.outputs[i]) << settings.name << ", prompt " << i;
      ++compared;
    }
    // Each setting must do what it is named for.
    const bool tiny_pool = settings.num_blocks < 100;
    EXPECT_GE(run.stats.preemptions, tiny_pool ? 5u : 0u) << settings.name;
    EXPECT_GE(run.stats.epochs, settings.kill_every > 0 ? 3u : 1u) << settings.name;
  }
  EXPECT_GE(compared, 1000u);  // of each type, so at least 2,000
}

INSTANTIATE_TEST_SUITE_P(Types, ByteEqualityTest, ::testing::Values("bfloat16", "float32"));

}  // namespace
}  // namespace pagoda::testing
