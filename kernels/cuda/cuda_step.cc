#include "kernels/cuda/cuda_step.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/status.h"
#include "kernels/cuda/status.h"
#include "kernels/cuda/step_ops.h"

namespace pagoda::cuda {
namespace {

constexpr size_t kAlignment = 256;

size_t RoundUp(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// Lays arrays out one after another in a staging buffer and its copy on the device.
class Layout {
 public:
  Layout(const PinnedBuffer& host, const DeviceBuffer& device) : host_(host), device_(device) {}

  template <class T>
  const T* Add(absl::Span<const T> items) {
    const size_t bytes = items.size() * sizeof(T);
    CHECK_LE(at_ + bytes, host_.bytes()) << "a step beyond the limits of Configure";
    if (bytes > 0) std::memcpy(host_.data<std::byte>() + at_, items.data(), bytes);
    const auto* const there = reinterpret_cast<const T*>(device_.data<std::byte>() + at_);
    at_ += RoundUp(bytes);
    end_ = std::max(end_, at_ - RoundUp(bytes) + bytes);
    return there;
  }

  absl::Status Upload(const Stream& stream) const {
    return ToStatus(
        cudaMemcpyAsync(device_.data(), host_.data(), end_, cudaMemcpyHostToDevice, stream.get()),
        "uploading a step");
  }

 private:
  const PinnedBuffer& host_;
  const DeviceBuffer& device_;
  size_t at_ = 0;
  size_t end_ = 0;
};

// Host and device memory of one size, for copies from one to the other.
absl::Status Reserve(size_t bytes, PinnedBuffer* host, DeviceBuffer* device) {
  ASSIGN_OR_RETURN(*host, PinnedBuffer::Make(bytes));
  ASSIGN_OR_RETURN(*device, DeviceBuffer::Make(bytes));
  return absl::OkStatus();
}

// Any row fits: its penalties are one for each token, and of biases and bans no more are needed.
SampleLimits RoundLimits(const StepLimits& limits) {
  constexpr int32_t kTopOfRow = 32;
  return {.edits = 3 * static_cast<size_t>(limits.vocab_size),
          .top = std::max(limits.vocab_size, kTopOfRow * limits.max_sample_rows)};
}

size_t UploadBytes(const StepLimits& limits, int32_t slots) {
  const size_t entries = size_t{1} * limits.max_lanes * TableStride(limits);
  const int64_t folds = MaxAttentionFolds(limits.num_q_heads,
                                          limits.num_kv_heads,
                                          limits.max_tokens,
                                          limits.max_lanes,
                                          limits.max_model_len,
                                          slots);
  return RoundUp(limits.max_tokens * sizeof(StepToken)) +
         RoundUp(limits.max_lanes * sizeof(TableUpdate)) + RoundUp(entries * sizeof(int32_t)) +
         RoundUp(limits.max_lanes * sizeof(StepSequence)) +
         RoundUp(limits.max_logits_rows * sizeof(int32_t)) + RoundUp(folds * sizeof(AttentionFold));
}

size_t TaskBytes(const StepLimits& limits) {
  return RoundUp(limits.max_sample_rows * sizeof(SampleTask)) +
         RoundUp(RoundLimits(limits).edits * sizeof(LogitEdit));
}

size_t ResultBytes(const StepLimits& limits) {
  return RoundUp(limits.max_sample_rows * sizeof(SampledToken)) +
         RoundLimits(limits).top * sizeof(TokenLogprob);
}

}  // namespace

absl::StatusOr<std::unique_ptr<CudaStep>> CudaStep::Make(const StepLimits& limits, int32_t slots) {
  auto step = std::make_unique<CudaStep>(limits, slots);
  RETURN_IF_ERROR(Reserve(UploadBytes(limits, slots), &step->staging_, &step->device_));
  RETURN_IF_ERROR(Reserve(TaskBytes(limits), &step->sample_staging_, &step->sample_device_));
  RETURN_IF_ERROR(Reserve(ResultBytes(limits), &step->host_results_, &step->results_));
  ASSIGN_OR_RETURN(step->done_, MakeEvent());
  return step;
}

size_t CudaStep::Bytes(const StepLimits& limits, int32_t slots) {
  return UploadBytes(limits, slots) + TaskBytes(limits) + ResultBytes(limits);
}

absl::Status CudaStep::Fill(const StepInput& input,
                            const KvPool& pool,
                            int32_t* tables,
                            const Stream& stream) {
  RETURN_IF_ERROR(flat_.Fill(input, pool));
  round_.tasks.clear();
  round_.top = 0;
  output_.tokens.clear();
  output_.top.clear();
  PlanAttention({.num_heads = limits_.num_q_heads, .num_kv_heads = limits_.num_kv_heads},
                flat_.sequences(),
                slots_,
                &plan_);
  Layout layout(staging_, device_);
  const FlatStep& flat = flat_;
  arrays_.tokens = layout.Add(flat.tokens());
  arrays_.updates = layout.Add(flat.updates());
  arrays_.entries = layout.Add(flat.entries());
  arrays_.sequences = layout.Add(flat.sequences());
  arrays_.logits_rows = layout.Add(flat.logits_rows());
  arrays_.folds = layout.Add(absl::MakeConstSpan(plan_.folds));
  RETURN_IF_ERROR(layout.Upload(stream));
  if (flat.updates().empty()) return absl::OkStatus();
  return ToStatus(RunUpdateTables({.updates = arrays_.updates,
                                   .entries = arrays_.entries,
                                   .num_updates = static_cast<int32_t>(flat.updates().size()),
                                   .tables = tables},
                                  stream.get()),
                  "updating block tables");
}

absl::Status CudaStep::Sample(TensorView logits,
                              absl::Span<const SampleRow> rows,
                              const SampleMemory& memory,
                              Communicator& comm,
                              const Stream& stream) {
  while (!rows.empty()) {
    if (!round_.tasks.empty()) {
      RETURN_IF_ERROR(ToStatus(cudaStreamSynchronize(stream.get()), "sampling in rounds"));
      TakeRound();
    }
    const size_t count = PlanSampling(rows, limits_.vocab_size, RoundLimits(limits_), &round_);
    if (count == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("a row with more biases and bans than ", RoundLimits(limits_).edits));
    }
    RETURN_IF_ERROR(DrawRound(logits, memory, comm, stream));
    rows.remove_prefix(count);
  }
  return absl::OkStatus();
}

absl::Status CudaStep::DrawRound(TensorView logits,
                                 const SampleMemory& memory,
                                 Communicator& comm,
                                 const Stream& stream) {
  const size_t tokens = round_.tasks.size() * sizeof(SampledToken);
  Layout layout(sample_staging_, sample_device_);
  SampleArgs args;
  args.logits = static_cast<const float*>(logits.data);
  args.logits_stride = logits.row_stride;
  args.vocab = limits_.vocab_size;
  args.tasks = layout.Add(absl::MakeConstSpan(round_.tasks));
  args.edits = layout.Add(absl::MakeConstSpan(round_.edits));
  args.num_tasks = static_cast<int32_t>(round_.tasks.size());
  args.edited = memory.edited;
  args.tokens = results_.data<SampledToken>();
  args.top = reinterpret_cast<TokenLogprob*>(results_.data<std::byte>() + RoundUp(tokens));
  args.lane_tokens = memory.lane_tokens;
  RETURN_IF_ERROR(layout.Upload(stream));
  if (comm.rank() == 0) RETURN_IF_ERROR(ToStatus(RunSampling(args, stream.get()), "sampling"));
  if (comm.size() > 1) {
    RETURN_IF_ERROR(comm.Broadcast({results_.data<std::byte>(), tokens}, 0));
    RETURN_IF_ERROR(ToStatus(
        RunTakeTokens(args.tasks, args.tokens, args.num_tasks, args.lane_tokens, stream.get()),
        "taking tokens over"));
  }
  return ToStatus(cudaMemcpyAsync(host_results_.data(),
                                  results_.data(),
                                  RoundUp(tokens) + round_.top * sizeof(TokenLogprob),
                                  cudaMemcpyDeviceToHost,
                                  stream.get()),
                  "reading sampled tokens");
}

absl::Status CudaStep::Record(const Stream& stream) {
  return ToStatus(cudaEventRecord(done_.get(), stream.get()), "ending a step");
}

absl::StatusOr<const StepOutput*> CudaStep::Collect() {
  RETURN_IF_ERROR(ToStatus(cudaEventSynchronize(done_.get()), "waiting for a step"));
  TakeRound();
  return &output_;
}

void CudaStep::TakeRound() {
  const size_t count = round_.tasks.size();
  const auto* const tokens = host_results_.data<SampledToken>();
  const auto* const top = reinterpret_cast<const TokenLogprob*>(
      host_results_.data<std::byte>() + RoundUp(count * sizeof(SampledToken)));
  const auto begin = static_cast<int32_t>(output_.top.size());
  for (size_t i = 0; i < count; ++i) {
    output_.tokens.push_back(tokens[i]);
    output_.tokens.back().top_begin += begin;
  }
  output_.top.insert(output_.top.end(), top, top + round_.top);
  round_.tasks.clear();
  round_.top = 0;
}

}  // namespace pagoda::cuda
