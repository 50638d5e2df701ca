// The backend as the runner uses it: whole steps of a tiny model, beside the CPU's and the naive
// one.
#include "kernels/cuda/cuda_backend.h"

#include <cuda_runtime.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "common/check.h"
#include "kernels/comm/single.h"
#include "kernels/cpu/cpu_backend.h"
#include "tests/kernels/cpu/tiny_model.h"
#include "tests/kernels/reference.h"

namespace pagoda::cuda {
namespace {

using ::testing::HasSubstr;
using testing::TinyModel;

constexpr int kBlocks = 200, kTable = 50;

struct Setting {
  DType dtype = DType::kBf16;
  int block_size = 16;
  int chunk = 13;        // of a prompt
  int depth = 1;         // steps that are run before the first is collected
  bool together = true;  // all lanes in one step
};

std::vector<int32_t> Prompt(int lane) {
  std::vector<int32_t> tokens;
  for (int i = 0; i < 10 + 7 * lane; ++i) tokens.push_back((i * 7 + lane * 13) % TinyModel::kVocab);
  return tokens;
}

// What lanes drew, and the bits of the logprobs.
struct Output {
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;
  bool operator==(const Output& other) const {
    return tokens == other.tokens &&
           std::ranges::equal(logprobs, other.logprobs, reference::SameBits);
  }
};

class World {
 public:
  World(std::unique_ptr<Backend> backend, const Setting& setting)
      : setting_(setting),
        backend_(std::move(backend)),
        model_(backend_.get(), setting.dtype),
        pool_(*backend_->MakeKvPool(model_.Layout(setting.block_size), kBlocks)) {}

  static std::unique_ptr<Backend> OnDevice() {
    auto backend = MakeCudaBackend({});
    CHECK_OK(backend);
    return *std::move(backend);
  }

  std::vector<int32_t> Table(int lane) const {
    std::vector<int32_t> table(kTable);
    for (int i = 0; i < kTable; ++i) table[i] = 1 + (i * 7 + lane * 50) % (kBlocks - 1);
    return table;
  }

  absl::Status Step(const std::vector<SequenceInput>& sequences,
                    const std::vector<LogitsRow>& logits,
                    const std::vector<SampleRow>& samples) {
    auto step = backend_->Prepare({.sequences = sequences, .logits_rows = logits}, *pool_);
    if (!step.ok()) return step.status();
    const absl::Status run =
        backend_->Run(**step, [&](LayerOps& ops) { return model_.Forward(ops, **step, *pool_); });
    if (!run.ok()) return run;
    CHECK_OK(backend_->Sample(**step,
                              model_.logits().Rows(0, (*step)->num_logits_rows()),
                              samples,
                              *comm_));
    waiting_.push_back({*step, samples});
    if (static_cast<int>(waiting_.size()) == setting_.depth) Collect();
    return absl::OkStatus();
  }

  // Prompts of `lanes`, then `count` tokens each, every other lane sampled.
  std::vector<Output> Generate(const std::vector<int>& lanes, int count) {
    outputs_.assign(TinyModel::kMaxLanes, {});
    for (const int lane : lanes) Prefill(lane);
    for (int i = 1; i < count; ++i) {
      std::vector<SequenceInput> sequences;
      std::vector<LogitsRow> logits;
      std::vector<SampleRow> samples;
      std::vector<std::vector<int32_t>> tables;
      for (const int lane : lanes) tables.push_back(Table(lane));
      for (size_t s = 0; s < lanes.size(); ++s) {
        const int position = static_cast<int>(Prompt(lanes[s]).size()) + i - 1;
        sequences.push_back(
            {.lane = lanes[s], .start = position, .num_tokens = 1, .block_table = tables[s]});
        logits.push_back({static_cast<int32_t>(sequences.size()) - 1, 0});
        samples.push_back(Draw(lanes[s], position + 1, static_cast<int32_t>(logits.size()) - 1));
        if (setting_.together && s + 1 < lanes.size()) continue;
        CHECK_OK(Step(sequences, logits, samples));
        sequences.clear();
        logits.clear();
        samples.clear();
      }
    }
    while (!waiting_.empty()) Collect();
    return outputs_;
  }

  Backend& backend() { return *backend_; }
  KvPool& pool() { return *pool_; }
  TinyModel& model() { return model_; }
  Communicator& comm() { return *comm_; }

 private:
  struct Waiting {
    PreparedStep* step;
    std::vector<SampleRow> samples;
  };

  static SampleRow Draw(int lane, int position, int32_t logits_row) {
    SampleRow row = {.logits_row = logits_row, .lane = lane, .position = position};
    row.params = {.temperature = lane % 2 == 0 ? 0.0f : 0.9f, .top_p = 0.95f, .seed = 77};
    row.params.logprobs = 0;
    return row;
  }

  void Prefill(int lane) {
    const std::vector<int32_t> prompt = Prompt(lane), table = Table(lane);
    const int size = static_cast<int>(prompt.size());
    for (int begin = 0; begin < size; begin += setting_.chunk) {
      const int count = std::min(setting_.chunk, size - begin);
      const SequenceInput input = {.lane = lane,
                                   .start = begin,
                                   .num_tokens = count,
                                   .tokens = absl::MakeSpan(prompt).subspan(begin, count),
                                   .block_table = table};
      const bool is_last = begin + count == size;
      CHECK_OK(
          Step({input},
               is_last ? std::vector<LogitsRow>{{0, count - 1}} : std::vector<LogitsRow>{},
               is_last ? std::vector<SampleRow>{Draw(lane, size, 0)} : std::vector<SampleRow>{}));
    }
  }

  void Collect() {
    const auto output = backend_->Collect(*waiting_.front().step);
    CHECK_OK(output);
    for (size_t i = 0; i < waiting_.front().samples.size(); ++i) {
      Output& lane = outputs_[waiting_.front().samples[i].lane];
      lane.tokens.push_back((*output)->tokens[i].token);
      lane.logprobs.push_back((*output)->tokens[i].logprob);
    }
    waiting_.erase(waiting_.begin());
  }

  const Setting setting_;
  const std::unique_ptr<Backend> backend_;
  TinyModel model_;
  const std::unique_ptr<KvPool> pool_;
  const std::unique_ptr<Communicator> comm_ = MakeSingleCommunicator();
  std::vector<Waiting> waiting_;
  std::vector<Output> outputs_;
};

TEST(CudaBackend, GivesTheBitsOfTheCpuInF32) {
  const Setting setting = {.dtype = DType::kF32};
  World device(World::OnDevice(), setting);
  World cpu(*cpu::MakeCpuBackend({.threads = 1}), setting);
  EXPECT_EQ(device.Generate({0, 1, 2}, 4), cpu.Generate({0, 1, 2}, 4));
}

TEST(CudaBackend, GivesTheSameBitsInEveryWay) {
  for (const DType dtype : {DType::kBf16, DType::kF32}) {
    const std::vector<Output> want = World(World::OnDevice(), {.dtype = dtype}).Generate({0, 1}, 4);
    for (const Setting& setting : {Setting{dtype, 8, 50, 2}, Setting{dtype, 32, 5, 1, false}}) {
      EXPECT_EQ(World(World::OnDevice(), setting).Generate({0, 1}, 4), want)
          << DTypeName(dtype) << ", blocks of " << setting.block_size << ", chunks of "
          << setting.chunk << ", depth " << setting.depth;
    }
  }
}

TEST(CudaBackend, AgreesWithTheNaiveModelInBf16) {
  World world(World::OnDevice(), {});
  const std::vector<int32_t> prompt = Prompt(2), table = world.Table(2);
  const int count = static_cast<int>(prompt.size());
  auto step = world.backend().Prepare(
      {.sequences = {{.lane = 2, .num_tokens = count, .tokens = prompt, .block_table = table}},
       .logits_rows = {{0, count - 1}}},
      world.pool());
  ASSERT_TRUE(step.ok()) << step.status();
  ASSERT_TRUE(
      world.backend()
          .Run(**step,
               [&](LayerOps& ops) { return world.model().Forward(ops, **step, world.pool()); })
          .ok());
  ASSERT_TRUE(world.backend().Collect(**step).ok());
  std::vector<float> got(TinyModel::kVocab);
  cudaStream_t stream = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  ASSERT_EQ(cudaMemcpyAsync(got.data(),
                            world.model().logits().data,
                            got.size() * sizeof(float),
                            cudaMemcpyDeviceToHost,
                            stream),
            cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  ASSERT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  const std::vector<double> want = world.model().Naive(prompt);
  for (int i = 0; i < TinyModel::kVocab; ++i) EXPECT_NEAR(got[i], want[i], 0.2) << i;
}

// A fork: another lane goes on from copied blocks and the copied last token.
TEST(CudaBackend, ALaneGoesOnFromAnothersBlocksAndToken) {
  World world(World::OnDevice(), {.dtype = DType::kF32});
  world.Generate({2}, 1);
  std::vector<BlockCopy> copies;
  const std::vector<int32_t> from = world.Table(2), to = world.Table(0);
  for (int i = 0; i < 4; ++i) copies.push_back({from[i], to[i]});
  world.backend().CopyBlocks(world.pool(), copies);
  world.backend().CopyLaneToken(2, 0);
  world.backend().ZeroBlocks(world.pool(), absl::MakeSpan(from).subspan(0, 4));
  const int position = static_cast<int>(Prompt(2).size());
  auto step = world.backend().Prepare(
      {.sequences = {{.lane = 0, .start = position, .num_tokens = 1, .block_table = to}},
       .logits_rows = {{0, 0}}},
      world.pool());
  ASSERT_TRUE(step.ok());
  ASSERT_TRUE(
      world.backend()
          .Run(**step,
               [&](LayerOps& ops) { return world.model().Forward(ops, **step, world.pool()); })
          .ok());
  ASSERT_TRUE(world.backend()
                  .Sample(**step,
                          world.model().logits().Rows(0, 1),
                          {{.logits_row = 0, .lane = 0, .position = position + 1}},
                          world.comm())
                  .ok());
  const auto output = world.backend().Collect(**step);
  ASSERT_TRUE(output.ok());
  World whole(World::OnDevice(), {.dtype = DType::kF32});
  EXPECT_EQ((*output)->tokens[0].token, whole.Generate({2}, 2)[2].tokens[1]);
}

TEST(CudaBackend, RefusesWhatItCannotDo) {
  World world(World::OnDevice(), {});
  const std::vector<int32_t> table = world.Table(0), bad = {TinyModel::kVocab};
  EXPECT_THAT(
      std::string(
          world.Step({{.lane = 0, .num_tokens = 1, .block_table = table}}, {}, {}).message()),
      HasSubstr("lane 0 has no last token"));
  EXPECT_EQ(world.Step({{.lane = 0, .num_tokens = 1, .tokens = bad, .block_table = table}}, {}, {})
                .code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(world.backend().OpenRendezvous({.size = 3}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(world.backend().Configure({}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MakeCudaBackend({.device = 99}).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace pagoda::cuda
