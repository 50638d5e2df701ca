#include "kernels/cuda/cuda_backend.h"

#include <array>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/status.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/block_ops.h"
#include "kernels/cuda/cuda_step.h"
#include "kernels/cuda/layer_ops.h"
#include "kernels/cuda/resources.h"
#include "kernels/cuda/row_ops.h"
#include "kernels/cuda/status.h"
#include "kernels/cuda/weights.h"

namespace pagoda::cuda {
namespace {

constexpr int32_t kMaxLimit = 1 << 28;
// Items of attention whose partial results are kept at a time; 4 CTAs are resident on a
// multiprocessor.
constexpr int32_t kSlots = 4096;
constexpr int32_t kCtasPerMultiprocessor = 4;
constexpr int64_t kRowAlignment = 64;  // elements

absl::Status CheckLimits(const StepLimits& limits) {
  for (const int32_t limit : {limits.max_tokens,
                              limits.max_lanes,
                              limits.max_logits_rows,
                              limits.max_sample_rows,
                              limits.max_model_len,
                              limits.vocab_size,
                              limits.num_q_heads,
                              limits.num_kv_heads,
                              limits.head_dim}) {
    if (limit >= 1 && limit <= kMaxLimit) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("step limit ", limit, ": expected 1 to ", kMaxLimit));
  }
  return absl::OkStatus();
}

class CudaBackend final : public Backend {
 public:
  CudaBackend(Stream stream, int32_t multiprocessors)
      : stream_(std::move(stream)), multiprocessors_(multiprocessors) {}

  absl::StatusOr<std::unique_ptr<LinearWeight>> PackLinear(
      const LinearSpec& spec,
      absl::Span<const HostTensor> parts,
      absl::Span<const HostTensor> biases) override {
    return CudaLinear::Make(spec, parts, biases, stream_);
  }
  absl::StatusOr<std::unique_ptr<EmbeddingWeight>> PackEmbedding(const EmbeddingSpec& spec,
                                                                 const HostTensor& table) override {
    return CudaEmbedding::Make(spec, table, stream_);
  }
  absl::StatusOr<std::unique_ptr<NormWeight>> PackNorm(const HostTensor& weight) override {
    return CudaNorm::Make(weight, stream_);
  }
  absl::StatusOr<std::unique_ptr<RopeTable>> MakeRopeTable(const RopeSpec& spec) override {
    return CudaRopeTable::Make(spec, stream_);
  }
  absl::StatusOr<std::unique_ptr<KvPool>> MakeKvPool(const KvLayout& layout,
                                                     int32_t num_blocks) override {
    return CudaKvPool::Make(layout, num_blocks, stream_);
  }
  // Of several ranks: with NCCL, which is not built yet.
  absl::StatusOr<std::unique_ptr<Rendezvous>> OpenRendezvous(const CommOptions& options) override {
    if (options.size == 1) return pagoda::OpenRendezvous(options);
    return absl::UnimplementedError(
        absl::StrCat("a group of ", options.size, " ranks on CUDA devices"));
  }

  absl::Status Configure(const StepLimits& limits) override;
  absl::StatusOr<TensorView> NewActivation(DType dtype, int64_t rows, int64_t cols) override;

  void SetLaneToken(int32_t lane, int32_t token) override {
    CHECK_LT(static_cast<size_t>(lane), has_token_.size());
    has_token_[lane] = token >= 0;
    Keep(RunSetLaneToken(lane_tokens_.data<int32_t>(), lane, -1, token, stream_.get()), "a lane");
  }
  void CopyLaneToken(int32_t from, int32_t to) override {
    CHECK_LT(static_cast<size_t>(from), has_token_.size());
    CHECK_LT(static_cast<size_t>(to), has_token_.size());
    has_token_[to] = has_token_[from];
    Keep(RunSetLaneToken(lane_tokens_.data<int32_t>(), to, from, 0, stream_.get()), "a lane");
  }

  void CopyBlocks(KvPool& pool, absl::Span<const BlockCopy> copies) override {
    for (const BlockCopy& copy : copies) {
      CheckBlock(pool, copy.source);
      CheckBlock(pool, copy.destination);
    }
    Keep(RunCopyBlocks(Memory(pool), copies, stream_.get()), "copying blocks");
  }
  void ZeroBlocks(KvPool& pool, absl::Span<const int32_t> blocks) override {
    for (const int32_t block : blocks) CheckBlock(pool, block);
    Keep(RunZeroBlocks(Memory(pool), blocks, stream_.get()), "clearing blocks");
  }

  absl::StatusOr<PreparedStep*> Prepare(const StepInput& input, const KvPool& pool) override;
  absl::Status Run(PreparedStep& step,
                   absl::FunctionRef<absl::Status(LayerOps& ops)> body) override;
  void Sample(PreparedStep& step, TensorView logits, absl::Span<const SampleRow> rows) override;
  absl::StatusOr<const StepOutput*> Collect(PreparedStep& step) override;

 private:
  static CudaStep& Own(PreparedStep& step) {
    auto* own = dynamic_cast<CudaStep*>(&step);
    CHECK(own != nullptr) << "a step of another backend";
    return *own;
  }
  static void CheckBlock(const KvPool& pool, int32_t id) {
    CHECK(id >= 0 && id < pool.num_blocks()) << "block " << id << " of " << pool.num_blocks();
  }
  static BlockMemory Memory(KvPool& pool) {
    return {static_cast<std::byte*>(pool.block(0)), pool.layout().BlockBytes()};
  }
  // Errors of calls that return none are those of the next Collect.
  void Keep(cudaError_t error, const char* what) { Keep(ToStatus(error, what)); }
  void Keep(absl::Status status) {
    if (status_.ok()) status_ = std::move(status);
  }

  const Stream stream_;
  const int32_t multiprocessors_;
  absl::Status status_;

  // Of the epoch.
  std::vector<DeviceBuffer> activations_;
  DeviceBuffer lane_tokens_;  // int32 [max_lanes]
  std::vector<bool> has_token_;
  DeviceBuffer workspace_;
  DeviceBuffer carry_;
  DeviceBuffer edited_;                             // f32 [max_sample_rows, vocab]
  std::array<std::unique_ptr<CudaStep>, 2> steps_;  // prepared in turn
  int next_step_ = 0;
};

absl::Status CudaBackend::Configure(const StepLimits& limits) {
  RETURN_IF_ERROR(CheckLimits(limits));
  status_ = absl::OkStatus();
  activations_.clear();
  steps_ = {};
  next_step_ = 0;
  has_token_.assign(limits.max_lanes, false);
  const size_t slot = AttentionSlotFloats(limits.head_dim) * sizeof(float);
  ASSIGN_OR_RETURN(lane_tokens_, DeviceBuffer::Make(limits.max_lanes * sizeof(int32_t)));
  ASSIGN_OR_RETURN(workspace_, DeviceBuffer::Make(kSlots * slot));
  ASSIGN_OR_RETURN(carry_, DeviceBuffer::Make(2 * slot));
  ASSIGN_OR_RETURN(edited_,
                   DeviceBuffer::Make(sizeof(float) * limits.max_sample_rows * limits.vocab_size));
  for (auto& step : steps_) {
    ASSIGN_OR_RETURN(step, CudaStep::Make(limits, kSlots));
  }
  return absl::OkStatus();
}

absl::StatusOr<TensorView> CudaBackend::NewActivation(DType dtype, int64_t rows, int64_t cols) {
  if (rows < 1 || cols < 1 || rows > kMaxLimit || cols > kMaxLimit) {
    return absl::InvalidArgumentError(absl::StrCat("activation [", rows, ", ", cols, "]"));
  }
  const int64_t stride = (cols + kRowAlignment - 1) / kRowAlignment * kRowAlignment;
  const size_t bytes = static_cast<size_t>(rows * stride) * DTypeSize(dtype);
  ASSIGN_OR_RETURN(DeviceBuffer memory, DeviceBuffer::Make(bytes));
  RETURN_IF_ERROR(
      ToStatus(cudaMemsetAsync(memory.data(), 0, bytes, stream_.get()), "clearing an activation"));
  activations_.push_back(std::move(memory));
  return TensorView{activations_.back().data(), dtype, rows, cols, stride};
}

absl::StatusOr<PreparedStep*> CudaBackend::Prepare(const StepInput& input, const KvPool& pool) {
  CHECK(dynamic_cast<const CudaKvPool*>(&pool) != nullptr) << "a pool of another backend";
  CHECK(steps_[next_step_] != nullptr) << "Prepare before Configure";
  CudaStep& step = *steps_[next_step_];
  RETURN_IF_ERROR(step.Fill(input, pool, stream_));
  next_step_ ^= 1;
  return &step;
}

absl::Status CudaBackend::Run(PreparedStep& step,
                              absl::FunctionRef<absl::Status(LayerOps& ops)> body) {
  CudaStep& own = Own(step);
  for (const StepToken& token : std::as_const(own).flat().tokens()) {
    if (token.token != FlatStep::kLaneToken || has_token_[token.lane]) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("lane ", token.lane, " has no last token to continue from"));
  }
  CudaLayerOps ops(own,
                   {.lane_tokens = lane_tokens_.data<int32_t>(),
                    .workspace = workspace_.data<float>(),
                    .carry = carry_.data<float>(),
                    .max_ctas = multiprocessors_ * kCtasPerMultiprocessor},
                   stream_.get());
  RETURN_IF_ERROR(body(ops));
  RETURN_IF_ERROR(ops.status());
  return own.Record(stream_);
}

void CudaBackend::Sample(PreparedStep& step, TensorView logits, absl::Span<const SampleRow> rows) {
  CudaStep& own = Own(step);
  CHECK_EQ(logits.rows, own.num_logits_rows());
  CHECK(logits.dtype == DType::kF32);
  for (const SampleRow& row : rows) {
    CHECK_LT(static_cast<size_t>(row.lane), has_token_.size());
    CHECK_LT(static_cast<uint64_t>(row.logits_row), static_cast<uint64_t>(logits.rows));
    has_token_[row.lane] = true;
  }
  Keep(own.Sample(logits, rows, lane_tokens_.data<int32_t>(), edited_.data<float>(), stream_));
  Keep(own.Record(stream_));
}

absl::StatusOr<const StepOutput*> CudaBackend::Collect(PreparedStep& step) {
  RETURN_IF_ERROR(status_);
  return Own(step).Collect();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(const CudaBackendOptions& options) {
  RETURN_IF_ERROR(ToStatus(cudaSetDevice(options.device), absl::StrCat("device ", options.device)));
  int multiprocessors = 0;
  RETURN_IF_ERROR(ToStatus(
      cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, options.device),
      "asking for the device's size"));
  RETURN_IF_ERROR(ToStatus(PrepareAttention(), "allowing shared memory"));
  ASSIGN_OR_RETURN(Stream stream, MakeStream());
  return std::make_unique<CudaBackend>(std::move(stream), multiprocessors);
}

}  // namespace pagoda::cuda
