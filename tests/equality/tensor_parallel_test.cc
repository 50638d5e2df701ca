// A model over several ranks gives the bytes that it gives on one.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/random.h"
#include "tests/equality/local_group.h"
#include "tests/testing/tiny_model.h"

namespace pagoda::testing {
namespace {

struct Size {
  int generations;
  uint32_t tokens;  // of each
};

// PAGODA_TP_GENERATIONS=500 is the whole proof; the default keeps `make test` short, on the slow
// path above all.
Size SizeFor(const std::string& isa) {
  Size size = {.generations = 12, .tokens = 64};
  const char* const text = std::getenv("PAGODA_TP_GENERATIONS");
  if (text == nullptr && isa == "scalar") return {.generations = 2, .tokens = 10};
  CHECK(text == nullptr || absl::SimpleAtoi(text, &size.generations)) << text;
  return size;
}

// Half greedy, half sampled.
std::vector<Prompt> MakePrompts(const Size& size, int vocabulary) {
  Random random(7);
  std::vector<Prompt> prompts;
  for (int i = 0; i < size.generations; ++i) {
    Prompt prompt;
    for (uint64_t t = 1 + random.Below(i % 10 == 9 ? 300 : 40); t > 0; --t) {
      prompt.tokens.push_back(static_cast<int32_t>(random.Below(vocabulary)));
    }
    prompt.max_tokens = size.tokens;
    prompt.sampling = {.temperature = 0, .seed = random.Next64(), .logprobs = 2};
    if (i % 2 == 1) prompt.sampling.temperature = 0.8f;
    if (i % 4 == 3) prompt.sampling.top_p = 0.9f;
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

struct Case {
  const char* dtype;
  const char* isa;
};

class TensorParallelTest : public ::testing::TestWithParam<Case> {
 protected:
  // Expects the same from groups of each size, over each way between ranks.
  void Compare(const std::string& model,
               const std::string& load_format,
               int vocabulary,
               const std::vector<int>& sizes) {
    const std::vector<Prompt> prompts = MakePrompts(SizeFor(GetParam().isa), vocabulary);
    GroupSettings settings = {.load_format = load_format, .cpu_isa = GetParam().isa};
    const GroupRun one = RunGroup(model, GetParam().dtype, settings, prompts);
    for (const int size : sizes) {
      for (const char* backend : {"local", "gloo"}) {
        settings.ranks = size;
        settings.comm_backend = backend;
        const GroupRun run = RunGroup(model, GetParam().dtype, settings, prompts);
        ASSERT_EQ(run.outputs.size(), prompts.size());
        for (size_t i = 0; i < prompts.size(); ++i) {
          ASSERT_EQ(run.outputs[i].tokens.size(), prompts[i].max_tokens);
          ASSERT_EQ(run.outputs[i], one.outputs[i])
              << size << " ranks over " << backend << ", prompt " << i;
        }
      }
    }
  }
};

TEST_P(TensorParallelTest, TwoAndFourRanksOfTheDemoModelGiveTheBytesOfOne) {
  Compare("models/demo", "auto", 2029, {2, 4});
}

// KV heads are shared by ranks, and the vocabulary does not divide.
TEST_P(TensorParallelTest, EightRanksOverTwoKvHeadsGiveTheBytesOfOne) {
  const TinyModel model({.vocab_size = 2029,
                         .hidden_size = 256,
                         .intermediate_size = 512,
                         .num_heads = 8,
                         .num_kv_heads = 2});
  Compare(model.path(), "dummy", 2029, {8});
}

TEST_P(TensorParallelTest, PreemptionChunksAndLostGroupsChangeNothing) {
  const TinyModel model({.hidden_size = 256, .intermediate_size = 256});
  const bool slow = std::string(GetParam().isa) == "scalar";
  const std::vector<Prompt> prompts = MakePrompts(slow ? Size{6, 24} : Size{24, 64}, 512);
  GroupSettings settings = {.cpu_isa = GetParam().isa};
  const GroupRun one = RunGroup(model.path(), GetParam().dtype, settings, prompts);
  settings = {.cpu_isa = GetParam().isa,
              .ranks = 2,
              .block_size = 8,
              .num_blocks = slow ? 16u : 60u,
              .max_lanes = 16,
              .max_step_tokens = 16,
              .kill_every = slow ? 15u : 50u};
  const GroupRun run = RunGroup(model.path(), GetParam().dtype, settings, prompts);
  EXPECT_GE(run.stats.epochs, 2u);
  EXPECT_GE(run.stats.preemptions, 1u);
  for (size_t i = 0; i < prompts.size(); ++i) ASSERT_EQ(run.outputs[i], one.outputs[i]) << i;
}

INSTANTIATE_TEST_SUITE_P(Types,
                         TensorParallelTest,
                         ::testing::Values(Case{"bfloat16", "auto"},
                                           Case{"float32", "auto"},
                                           Case{"bfloat16", "scalar"},
                                           Case{"float32", "scalar"}),
                         [](const auto& info) {
                           return absl::StrCat(info.param.dtype, "_", info.param.isa);
                         });

}  // namespace
}  // namespace pagoda::testing
