// A step's way through the device: captured and replayed, and what it does when its sampling does
// not fit at once.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "common/check.h"
#include "kernels/comm/single.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/cuda_step.h"
#include "kernels/cuda/layer_ops.h"
#include "tests/kernels/cpu/tiny_model.h"
#include "tests/kernels/cuda/device_array.h"
#include "tests/kernels/reference.h"

namespace pagoda::cuda {
namespace {

using testing::TinyModel;

constexpr int kBlocks = 40, kSlots = 64;
constexpr StepLimits kLimits = {.max_tokens = TinyModel::kMaxTokens,
                                .max_lanes = TinyModel::kMaxLanes,
                                .max_logits_rows = TinyModel::kMaxTokens,
                                .max_sample_rows = TinyModel::kMaxTokens,
                                .max_model_len = TinyModel::kMaxLen,
                                .block_size = 16,
                                .vocab_size = TinyModel::kVocab,
                                .num_q_heads = TinyModel::kHeads,
                                .num_kv_heads = TinyModel::kKvHeads,
                                .head_dim = TinyModel::kHeadDim};
const std::vector<int32_t> kTokens = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3};

std::unique_ptr<Backend> OnDevice() { return *MakeCudaBackend({}); }

template <class T>
std::vector<T> Fetch(const void* data, size_t count, const Stream& stream) {
  std::vector<T> values(count);
  CHECK_EQ(
      cudaMemcpyAsync(values.data(), data, count * sizeof(T), cudaMemcpyDeviceToHost, stream.get()),
      cudaSuccess);
  CHECK_EQ(cudaStreamSynchronize(stream.get()), cudaSuccess);
  return values;
}

// A step of a tiny model on a stream of the test's.
class StepTest : public ::testing::Test {
 protected:
  StepTest() { CHECK_EQ(cudaDeviceSynchronize(), cudaSuccess); }

  // Prepare and Run, as the backend does them.
  void Queue() {
    const std::vector<int32_t> table = {7, 3};
    const std::vector<SequenceInput> sequences = {
        {.lane = 1,
         .num_tokens = static_cast<int32_t>(kTokens.size()),
         .tokens = kTokens,
         .block_table = table}};
    const std::vector<LogitsRow> logits = {{0, static_cast<int32_t>(kTokens.size()) - 1}};
    ASSERT_EQ(step_->Fill({.sequences = sequences, .logits_rows = logits},
                          *pool_,
                          tables_.data(),
                          stream_),
              absl::OkStatus());
    CudaLayerOps ops(*step_,
                     {.lane_tokens = lanes_.data(),
                      .tables = tables_.data(),
                      .workspace = workspace_.data(),
                      .carry = carry_.data(),
                      .max_ctas = 8},
                     stream_.get());
    ASSERT_EQ(model_.Forward(ops, *step_, *pool_), absl::OkStatus());
    ASSERT_EQ(ops.status(), absl::OkStatus());
    ASSERT_EQ(step_->Record(stream_), absl::OkStatus());
  }

  std::vector<float> Logits() {
    return Fetch<float>(model_.logits().data, TinyModel::kVocab, stream_);
  }

  const Stream stream_ = MakeStreamOrDie();
  const std::unique_ptr<Backend> backend_ = OnDevice();
  TinyModel model_{backend_.get(), DType::kBf16};
  const std::unique_ptr<KvPool> pool_ = *backend_->MakeKvPool(model_.Layout(16), kBlocks);
  const std::unique_ptr<CudaStep> step_ = *CudaStep::Make(kLimits, kSlots);
  const DeviceArray<int32_t> lanes_{std::vector<int32_t>(TinyModel::kMaxLanes), stream_};
  const DeviceArray<int32_t> tables_{
      std::vector<int32_t>(TinyModel::kMaxLanes * TableStride(kLimits)),
      stream_};
  const DeviceArray<float> workspace_{
      std::vector<float>(kSlots * AttentionSlotFloats(TinyModel::kHeadDim)),
      stream_};
  const DeviceArray<float> carry_{std::vector<float>(2 * AttentionSlotFloats(TinyModel::kHeadDim)),
                                  stream_};
};

TEST_F(StepTest, PrepareAndRunCanBeCapturedAndReplayed) {
  Queue();
  const std::vector<float> eager = Logits();
  EXPECT_NE(eager, std::vector<float>(TinyModel::kVocab));
  cudaGraph_t graph = nullptr;
  ASSERT_CUDA(cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeGlobal));
  Queue();
  ASSERT_CUDA(cudaStreamEndCapture(stream_.get(), &graph));
  cudaGraphExec_t exec = nullptr;
  ASSERT_CUDA(cudaGraphInstantiate(&exec, graph));
  ASSERT_CUDA(cudaGraphDestroy(graph));
  for (int replay = 0; replay < 2; ++replay) {
    const TensorView logits = model_.logits();
    ASSERT_CUDA(cudaMemsetAsync(logits.data, 0, TinyModel::kVocab * sizeof(float), stream_.get()));
    ASSERT_CUDA(cudaMemsetAsync(pool_->block(7), 0, pool_->layout().BlockBytes(), stream_.get()));
    ASSERT_CUDA(cudaGraphLaunch(exec, stream_.get()));
    EXPECT_EQ(Logits(), eager) << "replay " << replay;
  }
  ASSERT_CUDA(cudaGraphExecDestroy(exec));
}

// Four rows with an edit for every token, where a round has room for those of one.
StepOutput DrawMuchEdited(Backend* backend) {
  TinyModel model(backend, DType::kF32);
  const auto pool = *backend->MakeKvPool(model.Layout(16), kBlocks);
  const auto comm = MakeSingleCommunicator();
  const std::vector<int32_t> table = {7, 3};
  const std::vector<SequenceInput> sequences = {{.lane = 0,
                                                 .num_tokens = static_cast<int32_t>(kTokens.size()),
                                                 .tokens = kTokens,
                                                 .block_table = table}};
  std::vector<LogitsRow> logits;
  std::vector<int32_t> all;
  std::vector<LogitBias> bias;
  for (int32_t token = 0; token < TinyModel::kVocab; ++token) {
    all.push_back(token);
    bias.push_back({token, static_cast<float>(token % 7) / 4});
  }
  std::vector<SampleRow> rows;
  for (int32_t lane = 0; lane < TinyModel::kMaxLanes; ++lane) {
    logits.push_back({0, static_cast<int32_t>(kTokens.size()) - 1 - lane});
    SampleRow& row = rows.emplace_back(SampleRow{.logits_row = lane, .lane = lane, .position = 18});
    row.params = {.temperature = 1, .seed = 5};
    row.params.repetition_penalty = 1.1f;
    row.params.logprobs = lane;
    row.prompt = all;
    row.bias = bias;
  }
  PreparedStep* const step =
      *backend->Prepare({.sequences = sequences, .logits_rows = logits}, *pool);
  CHECK_OK(backend->Run(*step, [&](LayerOps& ops) { return model.Forward(ops, *step, *pool); }));
  CHECK_OK(backend->Sample(*step, model.logits().Rows(0, step->num_logits_rows()), rows, *comm));
  return **backend->Collect(*step);
}

TEST(StepSampling, RowsThatDoNotFitAtOnceAreDrawnInRounds) {
  const StepOutput want = DrawMuchEdited(cpu::MakeCpuBackend({})->get());
  const StepOutput got = DrawMuchEdited(OnDevice().get());
  ASSERT_EQ(got.tokens.size(), want.tokens.size());
  for (size_t i = 0; i < want.tokens.size(); ++i) {
    const SampledToken &a = got.tokens[i], &b = want.tokens[i];
    EXPECT_EQ(a.token, b.token) << i;
    EXPECT_TRUE(reference::SameBits(a.logprob, b.logprob)) << i;
    ASSERT_EQ(a.top_count, static_cast<int32_t>(i));
    for (int32_t t = 0; t < a.top_count; ++t) {
      EXPECT_EQ(got.top[a.top_begin + t].token, want.top[b.top_begin + t].token) << i;
    }
  }
}

TEST(PoolMemory, IsWhatStepsAndTheReserveLeave) {
  constexpr double kSlack = 16 << 20;  // a device gives memory out in pieces
  StepLimits limits = kLimits;
  limits.head_dim = 256;
  const auto backend = OnDevice();
  const DeviceMemory memory = backend->memory();
  EXPECT_LE(memory.available, memory.total);
  const uint64_t all = backend->PoolMemory(limits, 0);
  EXPECT_LT(all, memory.available);
  EXPECT_EQ(backend->PoolMemory(limits, 12345) + 12345, all);
  EXPECT_EQ(backend->PoolMemory(limits, all + 1), 0);
  // Once a step's memory is there it is not counted twice.
  ASSERT_EQ(backend->Configure(limits), absl::OkStatus());
  EXPECT_LT(backend->memory().available + 2 * kSlack, memory.available);
  EXPECT_NEAR(static_cast<double>(backend->PoolMemory(limits, 0)),
              static_cast<double>(all),
              kSlack);
  const auto less = MakeCudaBackend({.memory_utilization = 0.5});
  EXPECT_LT((*less)->memory().total, memory.total);
}

}  // namespace
}  // namespace pagoda::cuda
