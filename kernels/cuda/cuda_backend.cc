#include "kernels/cuda/cuda_backend.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/mutex.h"
#include "common/status.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/block_ops.h"
#include "kernels/cuda/cublas_linear.h"
#include "kernels/cuda/cuda_rendezvous.h"
#include "kernels/cuda/cuda_step.h"
#include "kernels/cuda/device_info.h"
#include "kernels/cuda/layer_ops.h"
#include "kernels/cuda/resources.h"
#include "kernels/cuda/row_ops.h"
#include "kernels/cuda/status.h"
#include "kernels/cuda/step_watcher.h"
#include "kernels/cuda/transfer_queue.h"
#include "kernels/cuda/weights.h"

namespace pagoda::cuda {
namespace {

// Items of attention whose partial results are kept at a time; 4 CTAs are resident on a
// multiprocessor.
constexpr int32_t kSlots = 4096;
constexpr int32_t kCtasPerMultiprocessor = 4;
constexpr int64_t kRowAlignment = 64;       // elements
constexpr int32_t kMaxDimension = 1 << 28;  // of an activation

// Device bytes of the kernels' own, for steps within `limits`; `cublas` may be null.
struct EpochBytes {
  EpochBytes(const StepLimits& limits, const CublasLinear* cublas)
      : lane_tokens(limits.max_lanes * sizeof(int32_t)),
        tables(size_t{1} * limits.max_lanes * TableStride(limits) * sizeof(int32_t)),
        workspace(kSlots * AttentionSlotFloats(limits.head_dim) * sizeof(float)),
        carry(2 * AttentionSlotFloats(limits.head_dim) * sizeof(float)),
        edited(sizeof(float) * limits.max_sample_rows * limits.vocab_size),
        steps(2 * CudaStep::Bytes(limits, kSlots)),
        linears(cublas == nullptr ? 0 : cublas->Bytes(limits.max_tokens, limits.max_logits_rows)) {}
  size_t Sum() const { return lane_tokens + tables + workspace + carry + edited + steps + linears; }

  size_t lane_tokens;  // int32 [max_lanes]
  size_t tables;       // int32 [max_lanes, TableStride]
  size_t workspace;
  size_t carry;
  size_t edited;  // f32 [max_sample_rows, vocab]
  size_t steps;
  size_t linears;
};

class CudaBackend final : public Backend {
 public:
  CudaBackend(const CudaBackendOptions& options,
              DeviceInfo info,
              int32_t multiprocessors,
              Stream stream,
              std::unique_ptr<CublasLinear> cublas)
      : options_(options),
        info_(std::move(info)),
        multiprocessors_(multiprocessors),
        stream_(std::move(stream)),
        cublas_(std::move(cublas)) {}
  // Its thread sees the end of every step before their events go.
  ~CudaBackend() override { watcher_.reset(); }

  const DeviceInfo& info() const override { return info_; }
  absl::Status status() const override ABSL_LOCKS_EXCLUDED(lost_mutex_) {
    MutexLock lock(&lost_mutex_);
    return lost_;
  }
  DeviceMemory memory() const override;
  uint64_t PoolMemory(const StepLimits& limits, uint64_t reserved) const override;

  absl::StatusOr<std::unique_ptr<LinearWeight>> PackLinear(
      const LinearSpec& spec,
      absl::Span<const HostTensor> parts,
      absl::Span<const HostTensor> biases) override {
    RETURN_IF_ERROR(Enter());
    const bool by_cublas = cublas_ != nullptr && spec.dtype == DType::kBf16;
    ASSIGN_OR_RETURN(std::unique_ptr<CudaLinear> linear,
                     Noted(CudaLinear::Make(spec, parts, biases, stream_, !by_cublas)));
    if (by_cublas) cublas_->Add(linear->packed());
    return linear;
  }
  absl::StatusOr<std::unique_ptr<EmbeddingWeight>> PackEmbedding(const EmbeddingSpec& spec,
                                                                 const HostTensor& table) override {
    RETURN_IF_ERROR(Enter());
    return Noted(CudaEmbedding::Make(spec, table, stream_));
  }
  absl::StatusOr<std::unique_ptr<NormWeight>> PackNorm(const HostTensor& weight) override {
    RETURN_IF_ERROR(Enter());
    return Noted(CudaNorm::Make(weight, stream_));
  }
  absl::StatusOr<std::unique_ptr<RopeTable>> MakeRopeTable(const RopeSpec& spec) override {
    RETURN_IF_ERROR(Enter());
    return Noted(CudaRopeTable::Make(spec, stream_));
  }
  absl::StatusOr<std::unique_ptr<KvPool>> MakeKvPool(const KvLayout& layout,
                                                     int32_t num_blocks) override {
    RETURN_IF_ERROR(Enter());
    return Noted(CudaKvPool::Make(layout, num_blocks, stream_));
  }
  absl::StatusOr<std::unique_ptr<KvPool>> MakeHostKvPool(const KvLayout& layout,
                                                         int32_t num_blocks) override {
    RETURN_IF_ERROR(Enter());
    return Noted(CudaHostKvPool::Make(layout, num_blocks));
  }
  absl::StatusOr<std::unique_ptr<Rendezvous>> OpenRendezvous(const CommOptions& options) override {
    RETURN_IF_ERROR(Enter());
    size_t largest = 0;
    for (const DeviceBuffer& buffer : activations_) largest = std::max(largest, buffer.bytes());
    return OpenCudaRendezvous(options, options_.device, stream_.get(), largest);
  }

  absl::Status Configure(const StepLimits& limits) override;
  absl::StatusOr<TensorView> NewActivation(DType dtype, int64_t rows, int64_t cols) override;

  void SetLaneToken(int32_t lane, int32_t token) override {
    CHECK_LT(static_cast<size_t>(lane), has_token_.size());
    has_token_[lane] = token >= 0;
    Queue("a lane", [&] {
      return RunSetLaneToken(lane_tokens_.data<int32_t>(), lane, -1, token, stream_.get());
    });
  }
  void CopyLaneToken(int32_t from, int32_t to) override {
    CHECK_LT(static_cast<size_t>(from), has_token_.size());
    CHECK_LT(static_cast<size_t>(to), has_token_.size());
    has_token_[to] = has_token_[from];
    Queue("a lane", [&] {
      return RunSetLaneToken(lane_tokens_.data<int32_t>(), to, from, 0, stream_.get());
    });
  }

  void CopyBlocks(KvPool& pool, absl::Span<const BlockCopy> copies) override {
    for (const BlockCopy& copy : copies) {
      CheckBlock(pool, copy.source);
      CheckBlock(pool, copy.destination);
    }
    Queue("copying blocks", [&] { return RunCopyBlocks(Memory(pool), copies, stream_.get()); });
  }
  void ZeroBlocks(KvPool& pool, absl::Span<const int32_t> blocks) override {
    for (const int32_t block : blocks) CheckBlock(pool, block);
    Queue("clearing blocks", [&] { return RunZeroBlocks(Memory(pool), blocks, stream_.get()); });
  }

  absl::Status StartTransfer(KvPool& from, KvPool& to, absl::Span<const BlockCopy> copies) override;
  absl::StatusOr<uint64_t> FinishedTransfers() override {
    RETURN_IF_ERROR(Enter());
    return Noted(transfers_->Finished());
  }

  absl::StatusOr<PreparedStep*> Prepare(const StepInput& input, const KvPool& pool) override;
  absl::Status Run(PreparedStep& step,
                   absl::FunctionRef<absl::Status(LayerOps& ops)> body) override;
  absl::Status Sample(PreparedStep& step,
                      TensorView logits,
                      absl::Span<const SampleRow> rows,
                      Communicator& comm) override;
  void OnStepDone(std::function<void()> done) override {
    watcher_.emplace(options_.device, std::move(done));
  }
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

  // Each of the backend's threads has a device of its own, the first one to begin with.
  absl::Status Enter() const {
    return Noted(ToStatus(cudaSetDevice(options_.device), "choosing the device"));
  }
  // What a device answers; its loss is kept.
  absl::Status Noted(absl::Status status) const ABSL_LOCKS_EXCLUDED(lost_mutex_) {
    if (absl::IsInternal(status)) {
      MutexLock lock(&lost_mutex_);
      if (lost_.ok()) lost_ = status;
    }
    return status;
  }
  template <class T>
  absl::StatusOr<T> Noted(absl::StatusOr<T> result) const {
    static_cast<void>(Noted(result.status()));
    return result;
  }
  // Errors of calls that return none are those of the next Collect.
  void Queue(const char* what, absl::FunctionRef<cudaError_t()> launch) {
    absl::Status status = Enter();
    if (status.ok()) status = Noted(ToStatus(launch(), what));
    if (status_.ok()) status_ = std::move(status);
  }

  const CudaBackendOptions options_;
  const DeviceInfo info_;
  const int32_t multiprocessors_;
  const Stream stream_;
  const std::unique_ptr<CublasLinear> cublas_;  // null: every linear is ours
  absl::Status status_;
  std::optional<StepWatcher> watcher_;

  mutable Mutex lost_mutex_;
  mutable absl::Status lost_ ABSL_GUARDED_BY(lost_mutex_);

  // Of the epoch.
  size_t epoch_bytes_ = 0;  // of device memory, activations included
  std::vector<DeviceBuffer> activations_;
  DeviceBuffer lane_tokens_;
  std::vector<bool> has_token_;
  DeviceBuffer tables_;
  DeviceBuffer workspace_;
  DeviceBuffer carry_;
  DeviceBuffer edited_;
  std::array<std::unique_ptr<CudaStep>, 2> steps_;  // prepared in turn
  int next_step_ = 0;
  std::unique_ptr<TransferQueue> transfers_;
};

DeviceMemory CudaBackend::memory() const {
  size_t free = 0, all = 0;
  if (!Enter().ok() || !Noted(ToStatus(cudaMemGetInfo(&free, &all), "asking for memory")).ok()) {
    return {};
  }
  const auto total = static_cast<uint64_t>(static_cast<double>(all) * options_.memory_utilization);
  return {.available = total - std::min<uint64_t>(total, all - free), .total = total};
}

uint64_t CudaBackend::PoolMemory(const StepLimits& limits, uint64_t reserved) const {
  const uint64_t available = memory().available + epoch_bytes_;
  const uint64_t needed = EpochBytes(limits, cublas_.get()).Sum() + reserved;
  return available > needed ? available - needed : 0;
}

absl::Status CudaBackend::Configure(const StepLimits& limits) {
  RETURN_IF_ERROR(CheckStepLimits(limits));
  RETURN_IF_ERROR(Enter());
  status_ = absl::OkStatus();
  if (watcher_.has_value()) watcher_->Wait();
  activations_.clear();
  steps_ = {};
  next_step_ = 0;
  ASSIGN_OR_RETURN(transfers_, Noted(TransferQueue::Make()));
  has_token_.assign(limits.max_lanes, false);
  const EpochBytes bytes(limits, cublas_.get());
  epoch_bytes_ = 0;
  if (cublas_ != nullptr) {
    RETURN_IF_ERROR(Noted(cublas_->Reserve(limits.max_tokens, limits.max_logits_rows)));
  }
  ASSIGN_OR_RETURN(lane_tokens_, Noted(DeviceBuffer::Make(bytes.lane_tokens)));
  ASSIGN_OR_RETURN(tables_, Noted(DeviceBuffer::Make(bytes.tables)));
  ASSIGN_OR_RETURN(workspace_, Noted(DeviceBuffer::Make(bytes.workspace)));
  ASSIGN_OR_RETURN(carry_, Noted(DeviceBuffer::Make(bytes.carry)));
  ASSIGN_OR_RETURN(edited_, Noted(DeviceBuffer::Make(bytes.edited)));
  for (auto& step : steps_) {
    ASSIGN_OR_RETURN(step, Noted(CudaStep::Make(limits, kSlots)));
  }
  epoch_bytes_ = bytes.Sum();
  return absl::OkStatus();
}

absl::StatusOr<TensorView> CudaBackend::NewActivation(DType dtype, int64_t rows, int64_t cols) {
  if (rows < 1 || cols < 1 || rows > kMaxDimension || cols > kMaxDimension) {
    return absl::InvalidArgumentError(absl::StrCat("activation [", rows, ", ", cols, "]"));
  }
  RETURN_IF_ERROR(Enter());
  const int64_t stride = (cols + kRowAlignment - 1) / kRowAlignment * kRowAlignment;
  const size_t bytes = static_cast<size_t>(rows * stride) * DTypeSize(dtype);
  ASSIGN_OR_RETURN(DeviceBuffer memory, Noted(DeviceBuffer::Make(bytes)));
  RETURN_IF_ERROR(Noted(
      ToStatus(cudaMemsetAsync(memory.data(), 0, bytes, stream_.get()), "clearing an activation")));
  epoch_bytes_ += bytes;
  activations_.push_back(std::move(memory));
  return TensorView{activations_.back().data(), dtype, rows, cols, stride};
}

absl::Status CudaBackend::StartTransfer(KvPool& from,
                                        KvPool& to,
                                        absl::Span<const BlockCopy> copies) {
  CHECK((dynamic_cast<CudaKvPool*>(&from) == nullptr) !=
        (dynamic_cast<CudaKvPool*>(&to) == nullptr))
      << "a transfer is between the device and the host";
  CHECK_EQ(from.layout().BlockBytes(), to.layout().BlockBytes());
  for (const BlockCopy& copy : copies) {
    CheckBlock(from, copy.source);
    CheckBlock(to, copy.destination);
  }
  RETURN_IF_ERROR(Enter());
  return Noted(transfers_->Start(Memory(from), Memory(to), copies, stream_));
}

absl::StatusOr<PreparedStep*> CudaBackend::Prepare(const StepInput& input, const KvPool& pool) {
  CHECK(dynamic_cast<const CudaKvPool*>(&pool) != nullptr) << "a pool of another backend";
  CHECK(steps_[next_step_] != nullptr) << "Prepare before Configure";
  RETURN_IF_ERROR(Enter());
  CudaStep& step = *steps_[next_step_];
  RETURN_IF_ERROR(Noted(step.Fill(input, pool, tables_.data<int32_t>(), stream_)));
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
                    .tables = tables_.data<int32_t>(),
                    .workspace = workspace_.data<float>(),
                    .carry = carry_.data<float>(),
                    .max_ctas = multiprocessors_ * kCtasPerMultiprocessor,
                    .cublas = cublas_.get()},
                   stream_.get());
  absl::Status status = body(ops);
  status.Update(Noted(ops.status()));
  status.Update(Noted(own.Record(stream_)));  // after an error, too, there is work to wait for
  return status;
}

absl::Status CudaBackend::Sample(PreparedStep& step,
                                 TensorView logits,
                                 absl::Span<const SampleRow> rows,
                                 Communicator& comm) {
  CudaStep& own = Own(step);
  for (const SampleRow& row : rows) {
    CHECK_LT(static_cast<size_t>(row.lane), has_token_.size());
    CHECK_LT(static_cast<uint64_t>(row.logits_row), static_cast<uint64_t>(own.num_logits_rows()));
    has_token_[row.lane] = true;
  }
  if (comm.rank() == 0 && !rows.empty()) {
    CHECK(logits.rows == own.num_logits_rows() && logits.dtype == DType::kF32);
  }
  const SampleMemory memory = {.lane_tokens = lane_tokens_.data<int32_t>(),
                               .edited = edited_.data<float>()};
  absl::Status status = Noted(own.Sample(logits, rows, memory, comm, stream_));
  status.Update(Noted(own.Record(stream_)));
  if (status.ok() && watcher_.has_value()) watcher_->Watch(own.done());
  return status;
}

absl::StatusOr<const StepOutput*> CudaBackend::Collect(PreparedStep& step) {
  RETURN_IF_ERROR(status_);
  return Noted(Own(step).Collect());
}

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(const CudaBackendOptions& options) {
  if (!(options.memory_utilization > 0 && options.memory_utilization <= 1)) {
    return absl::InvalidArgumentError(absl::StrCat("--gpu-memory-utilization is ",
                                                   options.memory_utilization,
                                                   ", expected above 0 to 1"));
  }
  RETURN_IF_ERROR(ToStatus(cudaSetDevice(options.device), absl::StrCat("device ", options.device)));
  ASSIGN_OR_RETURN(DeviceInfo info, DescribeDevice(options.device));
  int multiprocessors = 0;
  RETURN_IF_ERROR(ToStatus(
      cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, options.device),
      "asking for the device's size"));
  RETURN_IF_ERROR(ToStatus(PrepareAttention(), "allowing shared memory"));
  ASSIGN_OR_RETURN(Stream stream, MakeStream());
  std::unique_ptr<CublasLinear> cublas;
  if (!options.deterministic) {
    ASSIGN_OR_RETURN(cublas, CublasLinear::Make());
    absl::StrAppend(&info.kind, " cublaslt");
  }
  return std::make_unique<CudaBackend>(options,
                                       std::move(info),
                                       multiprocessors,
                                       std::move(stream),
                                       std::move(cublas));
}

BackendFactory CudaDevice(const CudaBackendOptions& options) {
  return [options](int rank) -> absl::StatusOr<std::unique_ptr<Backend>> {
    ASSIGN_OR_RETURN(const int count, NumDevices());
    CudaBackendOptions own = options;
    own.device = rank % std::max(count, 1);
    return MakeCudaBackend(own);
  };
}

}  // namespace pagoda::cuda
