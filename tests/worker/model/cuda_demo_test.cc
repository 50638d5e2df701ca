// The demo model on the CUDA backend beside the CPU backend: three prompts in one batch.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "common/check.h"
#include "common/status.h"
#include "kernels/comm/communicator.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda/cuda_backend.h"
#include "worker/model/decoder.h"
#include "worker/model/loader.h"

namespace pagoda {
namespace {

constexpr int kPrompts = 3, kLength = 64, kBlockSize = 16, kBlocks = kLength / kBlockSize;

std::vector<int32_t> Prompt(int lane) {
  std::vector<int32_t> tokens;
  for (int i = 0; i < 5 + 3 * lane; ++i) tokens.push_back((97 * i * i + 31 * lane + 11) % 2000);
  return tokens;
}

struct Drawn {
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;
  std::vector<float> margins;  // to the second most likely
};

class Generation {
 public:
  absl::Status Load(std::unique_ptr<Backend> backend, const std::string& dtype) {
    backend_ = std::move(backend);
    ASSIGN_OR_RETURN(LoadedModel model,
                     LoadModel({.directory = "models/demo", .dtype = dtype},
                               *backend_,
                               [](uint64_t, uint64_t) {}));
    decoder_ = std::make_unique<Decoder>(*backend_, std::move(model));
    const ModelConfig& config = decoder_->model().config;
    const StepLimits limits = {.max_tokens = kLength,
                               .max_lanes = kPrompts,
                               .max_logits_rows = kPrompts,
                               .max_sample_rows = kPrompts,
                               .max_model_len = kLength,
                               .vocab_size = static_cast<int32_t>(config.vocab_size),
                               .num_q_heads = static_cast<int32_t>(config.num_heads),
                               .num_kv_heads = static_cast<int32_t>(config.num_kv_heads),
                               .head_dim = static_cast<int32_t>(config.head_dim)};
    RETURN_IF_ERROR(backend_->Configure(limits));
    RETURN_IF_ERROR(decoder_->Configure(limits));
    ASSIGN_OR_RETURN(const auto rendezvous, backend_->OpenRendezvous({}));
    ASSIGN_OR_RETURN(comm_, rendezvous->Connect({}));
    ASSIGN_OR_RETURN(
        pool_,
        backend_->MakeKvPool(decoder_->MakeKvLayout(kBlockSize), kPrompts * kBlocks + 1));
    return absl::OkStatus();
  }

  // Greedy; prompts in the first step, then `count` - 1 steps of one token each.
  absl::StatusOr<std::vector<Drawn>> Run(int count) {
    std::vector<Drawn> drawn(kPrompts);
    std::vector<std::vector<int32_t>> prompts, tables;
    for (int lane = 0; lane < kPrompts; ++lane) {
      prompts.push_back(Prompt(lane));
      tables.emplace_back(kBlocks);
      std::iota(tables.back().begin(), tables.back().end(), 1 + lane * kBlocks);
    }
    for (int i = 0; i < count; ++i) {
      std::vector<SequenceInput> sequences;
      std::vector<LogitsRow> logits;
      std::vector<SampleRow> samples;
      for (int lane = 0; lane < kPrompts; ++lane) {
        const int size = static_cast<int>(prompts[lane].size());
        SequenceInput input = {.lane = lane, .num_tokens = size, .tokens = prompts[lane]};
        if (i > 0) input = {.lane = lane, .start = size + i - 1, .num_tokens = 1};
        input.block_table = tables[lane];
        sequences.push_back(input);
        logits.push_back({lane, input.num_tokens - 1});
        samples.push_back({.logits_row = lane, .lane = lane, .params = {.logprobs = 2}});
      }
      RETURN_IF_ERROR(Step({.sequences = sequences, .logits_rows = logits}, samples, &drawn));
    }
    return drawn;
  }

 private:
  absl::Status Step(const StepInput& input,
                    const std::vector<SampleRow>& samples,
                    std::vector<Drawn>* drawn) {
    ASSIGN_OR_RETURN(PreparedStep* const step, backend_->Prepare(input, *pool_));
    RETURN_IF_ERROR(backend_->Run(*step, [&](LayerOps& ops) {
      return decoder_->Forward(ops, step->num_rows(), kPrompts, *pool_, *comm_);
    }));
    RETURN_IF_ERROR(backend_->Sample(*step, decoder_->Logits(kPrompts), samples, *comm_));
    ASSIGN_OR_RETURN(const StepOutput* const output, backend_->Collect(*step));
    for (int lane = 0; lane < kPrompts; ++lane) {
      const SampledToken& token = output->tokens[lane];
      (*drawn)[lane].tokens.push_back(token.token);
      (*drawn)[lane].logprobs.push_back(token.logprob);
      (*drawn)[lane].margins.push_back(output->top[token.top_begin].logprob -
                                       output->top[token.top_begin + 1].logprob);
    }
    return absl::OkStatus();
  }

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Decoder> decoder_;
  std::unique_ptr<KvPool> pool_;
  std::unique_ptr<Communicator> comm_;
};

std::vector<Drawn> Generate(absl::StatusOr<std::unique_ptr<Backend>> backend,
                            const std::string& dtype,
                            int count) {
  CHECK_OK(backend);
  Generation generation;
  CHECK_OK(generation.Load(*std::move(backend), dtype));
  auto drawn = generation.Run(count);
  CHECK_OK(drawn);
  return *std::move(drawn);
}

TEST(CudaDemo, GivesTheTokensAndLogprobsOfTheCpuInF32) {
  constexpr int kCount = 24;
  const std::vector<Drawn> got = Generate(cuda::MakeCudaBackend({}), "float32", kCount);
  const std::vector<Drawn> want = Generate(cpu::MakeCpuBackend({}), "float32", kCount);
  for (int lane = 0; lane < kPrompts; ++lane) {
    EXPECT_EQ(got[lane].tokens, want[lane].tokens) << lane;
    EXPECT_EQ(got[lane].logprobs, want[lane].logprobs) << lane;
  }
}

// Up to where the two most likely tokens are so near that the last bits decide.
TEST(CudaDemo, IsNearTheCpuInBf16) {
  constexpr int kCount = 4;
  constexpr float kTolerance = 0.1f;  // of a log-probability
  const std::vector<Drawn> got = Generate(cuda::MakeCudaBackend({}), "bfloat16", kCount);
  const std::vector<Drawn> want = Generate(cpu::MakeCpuBackend({}), "bfloat16", kCount);
  for (int lane = 0; lane < kPrompts; ++lane) {
    for (int i = 0; i < kCount && want[lane].margins[i] > 2 * kTolerance; ++i) {
      ASSERT_EQ(got[lane].tokens[i], want[lane].tokens[i]) << lane << ", " << i;
      EXPECT_NEAR(got[lane].logprobs[i], want[lane].logprobs[i], kTolerance) << lane << ", " << i;
    }
  }
}

}  // namespace
}  // namespace pagoda
