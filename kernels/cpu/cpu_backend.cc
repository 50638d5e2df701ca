#include "kernels/cpu/cpu_backend.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/limits.h"
#include "common/status.h"
#include "kernels/cpu/block_ops.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/cpu_step.h"
#include "kernels/cpu/flush_denormals.h"
#include "kernels/cpu/kv_pool.h"
#include "kernels/cpu/layer_ops.h"
#include "kernels/cpu/sampling.h"
#include "kernels/cpu/thread_team.h"
#include "kernels/cpu/weights.h"
#include "kernels/flat_step.h"
#include "kernels/host_tensor.h"

namespace pagoda::cpu {
namespace {

constexpr int kMaxThreads = 1024;
constexpr int32_t kMaxLimit = 1 << 28;

absl::StatusOr<int> ChooseThreads(int threads) {
  if (threads == 0) return CpuLimit();
  if (threads > 0 && threads <= kMaxThreads) return threads;
  return absl::InvalidArgumentError(
      absl::StrCat("threads ", threads, ": expected 0 (automatic) to ", kMaxThreads));
}

DeviceInfo Describe(int threads, Isa isa) {
  std::string isas;
  for (Isa one : SupportedIsas()) absl::StrAppend(&isas, isas.empty() ? "" : " ", IsaName(one));
  return {
      .kind = "cpu",
      .description =
          absl::StrCat("cpu ", IsaName(isa), ", ", threads, threads == 1 ? " thread" : " threads"),
      .facts = {{"isa", absl::StrCat(isas, "; in use: ", IsaName(isa))}}};
}

class CpuBackend final : public Backend {
 public:
  CpuBackend(int threads, Isa isa)
      : info_(Describe(threads, isa)), team_(threads), kernels_(KernelsFor(isa)) {}

  const DeviceInfo& info() const override { return info_; }
  absl::Status status() const override { return absl::OkStatus(); }
  DeviceMemory memory() const override {
    return {.available = MemoryAvailableBytes(), .total = MemoryLimitBytes()};
  }
  // Half of what is left: the machine is not ours alone.
  uint64_t PoolMemory(const StepLimits&, uint64_t reserved) const override {
    const uint64_t available = MemoryAvailableBytes();
    return available > reserved ? (available - reserved) / 2 : 0;
  }

  absl::StatusOr<std::unique_ptr<LinearWeight>> PackLinear(
      const LinearSpec& spec,
      absl::Span<const HostTensor> parts,
      absl::Span<const HostTensor> biases) override {
    ASSIGN_OR_RETURN(auto linear, PackCpuLinear(spec, parts, biases, &team_));
    max_padded_in_ = std::max(max_padded_in_, linear->packed().padded_in);
    return linear;
  }

  absl::StatusOr<std::unique_ptr<EmbeddingWeight>> PackEmbedding(const EmbeddingSpec& spec,
                                                                 const HostTensor& table) override {
    return CpuEmbedding::Make(spec, table);
  }

  absl::StatusOr<std::unique_ptr<NormWeight>> PackNorm(const HostTensor& weight) override {
    RETURN_IF_ERROR(CheckHostTensor(weight, 1, -1, "norm weight"));
    std::vector<float> values(weight.cols);
    ReadRow(weight, 0, 0, weight.cols, values.data());
    return std::make_unique<CpuNorm>(std::move(values));
  }

  absl::StatusOr<std::unique_ptr<RopeTable>> MakeRopeTable(const RopeSpec& spec) override {
    return CpuRopeTable::Make(spec);
  }

  absl::StatusOr<std::unique_ptr<KvPool>> MakeKvPool(const KvLayout& layout,
                                                     int32_t num_blocks) override {
    return CpuKvPool::Make(layout, num_blocks);
  }
  absl::StatusOr<std::unique_ptr<KvPool>> MakeHostKvPool(const KvLayout& layout,
                                                         int32_t num_blocks) override {
    return CpuKvPool::Make(layout, num_blocks);
  }

  absl::StatusOr<std::unique_ptr<Rendezvous>> OpenRendezvous(const CommOptions& options) override {
    return pagoda::OpenRendezvous(options);
  }

  absl::Status Configure(const StepLimits& limits) override;
  absl::StatusOr<TensorView> NewActivation(DType dtype, int64_t rows, int64_t cols) override;

  void SetLaneToken(int32_t lane, int32_t token) override {
    CHECK_LT(static_cast<size_t>(lane), lane_tokens_.size());
    lane_tokens_[lane] = token;
  }
  void CopyLaneToken(int32_t from, int32_t to) override {
    CHECK_LT(static_cast<size_t>(from), lane_tokens_.size());
    SetLaneToken(to, lane_tokens_[from]);
  }

  void CopyBlocks(KvPool& pool, absl::Span<const BlockCopy> copies) override;
  void ZeroBlocks(KvPool& pool, absl::Span<const int32_t> blocks) override;

  // All memory is the host's: a transfer is finished when it has begun.
  absl::Status StartTransfer(KvPool& from, KvPool& to, absl::Span<const BlockCopy> copies) override;
  absl::StatusOr<uint64_t> FinishedTransfers() override { return transfers_; }

  absl::StatusOr<PreparedStep*> Prepare(const StepInput& input, const KvPool& pool) override;
  absl::Status Run(PreparedStep& step,
                   absl::FunctionRef<absl::Status(LayerOps& ops)> body) override;
  absl::Status Sample(PreparedStep& step,
                      TensorView logits,
                      absl::Span<const SampleRow> rows,
                      Communicator& comm) override;
  void OnStepDone(std::function<void()> done) override { done_ = std::move(done); }
  absl::StatusOr<const StepOutput*> Collect(PreparedStep& step) override;

 private:
  static CpuStep& Own(PreparedStep& step) {
    auto* own = dynamic_cast<CpuStep*>(&step);
    CHECK(own != nullptr) << "a step of another backend";
    return *own;
  }
  static void CheckBlock(const KvPool& pool, int32_t id) {
    CHECK(id >= 0 && id < pool.num_blocks()) << "block " << id << " of " << pool.num_blocks();
  }
  static BlockMemory Memory(KvPool& pool) {
    return {static_cast<std::byte*>(pool.block(0)), pool.layout().BlockBytes()};
  }

  void Draw(CpuStep& step, TensorView logits, absl::Span<const SampleRow> rows);
  // Rank 0's tokens, on all ranks.
  absl::Status ShareTokens(absl::Span<const SampleRow> rows,
                           Communicator& comm,
                           StepOutput* output);

  const DeviceInfo info_;
  ThreadTeam team_;
  const CpuKernels kernels_;
  std::function<void()> done_ = [] {};
  int64_t max_padded_in_ = 0;  // of all packed linears

  // Of the epoch.
  TeamScratch scratch_;
  std::vector<std::unique_ptr<SampleScratch>> sample_scratch_;  // by thread
  std::vector<HugeBuffer> activations_;
  std::vector<int32_t> lane_tokens_;
  std::vector<int32_t> tables_;                  // the lanes' block tables, TableStride of each
  std::array<std::optional<CpuStep>, 2> steps_;  // prepared in turn
  int next_step_ = 0;
  uint64_t transfers_ = 0;
  std::optional<ThreadTeam::Step> running_;  // from Run to Sample or Collect
  std::vector<int32_t> drawn_;               // of ShareTokens
};

absl::Status CpuBackend::Configure(const StepLimits& limits) {
  RETURN_IF_ERROR(CheckStepLimits(limits));
  running_.reset();
  activations_.clear();
  lane_tokens_.assign(limits.max_lanes, CpuStep::kLaneToken);
  drawn_.resize(limits.max_sample_rows);
  tables_.assign(size_t{1} * limits.max_lanes * TableStride(limits), 0);
  for (auto& step : steps_) step.emplace(limits);
  sample_scratch_.clear();
  for (int i = 0; i < team_.size(); ++i) {
    sample_scratch_.push_back(std::make_unique<SampleScratch>(limits.vocab_size));
  }
  next_step_ = 0;
  transfers_ = 0;
  const size_t wanted =
      std::max(LinearScratchFloats(max_padded_in_) * sizeof(float), kAttentionScratchBytes);
  const size_t bytes = (wanted + 4095) / 4096 * 4096;
  ASSIGN_OR_RETURN(HugeBuffer memory, HugeBuffer::Make(bytes * team_.size()));
  scratch_ = TeamScratch(std::move(memory), bytes);
  return absl::OkStatus();
}

absl::StatusOr<TensorView> CpuBackend::NewActivation(DType dtype, int64_t rows, int64_t cols) {
  if (rows < 1 || cols < 1 || rows > kMaxLimit || cols > kMaxLimit) {
    return absl::InvalidArgumentError(absl::StrCat("activation [", rows, ", ", cols, "]"));
  }
  // Rows begin on a cache line.
  const int64_t stride = (cols + 31) / 32 * 32;
  ASSIGN_OR_RETURN(HugeBuffer memory, HugeBuffer::Make(rows * stride * DTypeSize(dtype)));
  activations_.push_back(std::move(memory));
  return TensorView{activations_.back().data(), dtype, rows, cols, stride};
}

absl::StatusOr<PreparedStep*> CpuBackend::Prepare(const StepInput& input, const KvPool& pool) {
  const auto* own = dynamic_cast<const CpuKvPool*>(&pool);
  CHECK(own != nullptr) << "a pool of another backend";
  CHECK(steps_[next_step_].has_value()) << "Prepare before Configure";
  CpuStep& step = *steps_[next_step_];
  RETURN_IF_ERROR(step.Fill(input, *own, &tables_));
  next_step_ ^= 1;
  return &step;
}

absl::Status CpuBackend::Run(PreparedStep& step,
                             absl::FunctionRef<absl::Status(LayerOps& ops)> body) {
  CpuStep& own = Own(step);
  RETURN_IF_ERROR(own.ResolveTokens(lane_tokens_));
  const ScopedFlushDenormals flush;
  running_.emplace(&team_);
  CpuLayerOps ops(&team_, kernels_, scratch_, &own);
  return body(ops);
}

absl::Status CpuBackend::Sample(PreparedStep& step,
                                TensorView logits,
                                absl::Span<const SampleRow> rows,
                                Communicator& comm) {
  CpuStep& own = Own(step);
  own.output().tokens.assign(rows.size(), {});
  own.output().top.clear();
  if (!rows.empty()) {
    if (comm.rank() == 0) Draw(own, logits, rows);
    if (comm.size() > 1) RETURN_IF_ERROR(ShareTokens(rows, comm, &own.output()));
  }
  running_.reset();
  done_();
  return absl::OkStatus();
}

absl::Status CpuBackend::ShareTokens(absl::Span<const SampleRow> rows,
                                     Communicator& comm,
                                     StepOutput* output) {
  for (size_t i = 0; i < rows.size(); ++i) drawn_[i] = output->tokens[i].token;
  RETURN_IF_ERROR(
      comm.Broadcast({reinterpret_cast<std::byte*>(drawn_.data()), rows.size() * sizeof(int32_t)},
                     0));
  for (size_t i = 0; i < rows.size(); ++i) {
    output->tokens[i].token = drawn_[i];
    lane_tokens_[rows[i].lane] = std::max(drawn_[i], 0);
  }
  return absl::OkStatus();
}

void CpuBackend::Draw(CpuStep& own, TensorView logits, absl::Span<const SampleRow> rows) {
  const int vocab = sample_scratch_[0]->vocab();
  CHECK_EQ(logits.rows, own.num_logits_rows());
  CHECK_EQ(logits.cols, vocab);
  CHECK(logits.dtype == DType::kF32);
  StepOutput& output = own.output();
  for (size_t i = 0; i < rows.size(); ++i) {
    CHECK_LT(static_cast<size_t>(rows[i].lane), lane_tokens_.size());
    CHECK_LT(static_cast<uint64_t>(rows[i].logits_row), static_cast<uint64_t>(logits.rows));
    output.tokens[i].top_begin = static_cast<int32_t>(output.top.size());
    output.top.resize(output.top.size() + std::clamp(rows[i].params.logprobs, 0, vocab));
  }
  const ScopedFlushDenormals flush;
  team_.ForEach(static_cast<int64_t>(rows.size()), [&](int64_t i, int thread) {
    SampledToken& token = output.tokens[i];
    const int32_t begin = token.top_begin;
    token = SampleToken(*kernels_.sampling,
                        logits.Row<float>(rows[i].logits_row),
                        rows[i],
                        sample_scratch_[thread].get(),
                        output.top.data() + begin);
    token.top_begin = begin;
    // A lane whose logits were unusable may already be planned on; any token will do for it.
    lane_tokens_[rows[i].lane] = std::max(token.token, 0);
  });
}

void CpuBackend::CopyBlocks(KvPool& pool, absl::Span<const BlockCopy> copies) {
  if (copies.empty()) return;
  for (const BlockCopy& copy : copies) {
    CheckBlock(pool, copy.source);
    CheckBlock(pool, copy.destination);
  }
  team_.ForEach(team_.size(), [&](int64_t part, int) {
    cpu::CopyBlocks(Memory(pool), copies, static_cast<int>(part), team_.size());
  });
}

void CpuBackend::ZeroBlocks(KvPool& pool, absl::Span<const int32_t> blocks) {
  if (blocks.empty()) return;
  for (const int32_t block : blocks) CheckBlock(pool, block);
  team_.ForEach(team_.size(), [&](int64_t part, int) {
    FillBlocks(Memory(pool), blocks, 0, static_cast<int>(part), team_.size());
  });
}

absl::Status CpuBackend::StartTransfer(KvPool& from,
                                       KvPool& to,
                                       absl::Span<const BlockCopy> copies) {
  const size_t bytes = from.layout().BlockBytes();
  CHECK_EQ(to.layout().BlockBytes(), bytes);
  for (const BlockCopy& copy : copies) {
    CheckBlock(from, copy.source);
    CheckBlock(to, copy.destination);
  }
  team_.ForEach(static_cast<int64_t>(copies.size()), [&](int64_t i, int) {
    std::memcpy(to.block(copies[i].destination), from.block(copies[i].source), bytes);
  });
  ++transfers_;
  return absl::OkStatus();
}

absl::StatusOr<const StepOutput*> CpuBackend::Collect(PreparedStep& step) {
  running_.reset();
  return &Own(step).output();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> MakeCpuBackend(const CpuBackendOptions& options) {
  ASSIGN_OR_RETURN(const int threads, ChooseThreads(options.threads));
  ASSIGN_OR_RETURN(const Isa isa, ChooseIsa(options.isa));
  return std::make_unique<CpuBackend>(threads, isa);
}

BackendFactory CpuDevice(const CpuBackendOptions& options) {
  return [options](int) { return MakeCpuBackend(options); };
}

}  // namespace pagoda::cpu
