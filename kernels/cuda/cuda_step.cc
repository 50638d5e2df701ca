#include "kernels/cuda/cuda_step.h"

#include <algorithm>
#include <cstring>

#include "common/check.h"
#include "common/status.h"
#include "kernels/cuda/status.h"

namespace pagoda::cuda {
namespace {

constexpr size_t kAlignment = 256;
constexpr int32_t kSmallestBlock = 8;

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

// Grows both, never in a step that is like an earlier one.
absl::Status Reserve(size_t bytes, PinnedBuffer* host, DeviceBuffer* device) {
  if (host->bytes() >= bytes) return absl::OkStatus();
  ASSIGN_OR_RETURN(*host, PinnedBuffer::Make(bytes));
  ASSIGN_OR_RETURN(*device, DeviceBuffer::Make(bytes));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<CudaStep>> CudaStep::Make(const StepLimits& limits, int32_t slots) {
  auto step = std::make_unique<CudaStep>(limits, slots);
  const size_t tables = size_t{1} * limits.max_lanes * (limits.max_model_len / kSmallestBlock + 1);
  const int64_t folds = MaxAttentionFolds(limits.num_q_heads,
                                          limits.num_kv_heads,
                                          limits.max_tokens,
                                          limits.max_lanes,
                                          limits.max_model_len,
                                          slots);
  const size_t bytes =
      RoundUp(limits.max_tokens * sizeof(StepToken)) + RoundUp(tables * sizeof(int32_t)) +
      RoundUp(limits.max_lanes * sizeof(StepSequence)) +
      RoundUp(limits.max_logits_rows * sizeof(int32_t)) + RoundUp(folds * sizeof(AttentionFold));
  RETURN_IF_ERROR(Reserve(bytes, &step->staging_, &step->device_));
  // Without penalties, biases and bans, and with five alternatives a row.
  const size_t rows = limits.max_sample_rows;
  RETURN_IF_ERROR(Reserve(2 * RoundUp(rows * sizeof(SampleTask)),
                          &step->sample_staging_,
                          &step->sample_device_));
  RETURN_IF_ERROR(Reserve(RoundUp(rows * sizeof(SampledToken)) + 5 * rows * sizeof(TokenLogprob),
                          &step->host_results_,
                          &step->results_));
  ASSIGN_OR_RETURN(step->done_, MakeEvent());
  return step;
}

absl::Status CudaStep::Fill(const StepInput& input, const KvPool& pool, const Stream& stream) {
  RETURN_IF_ERROR(flat_.Fill(input, pool));
  tasks_.clear();
  PlanAttention({.num_heads = limits_.num_q_heads, .num_kv_heads = limits_.num_kv_heads},
                flat_.sequences(),
                slots_,
                &plan_);
  Layout layout(staging_, device_);
  const FlatStep& flat = flat_;
  arrays_.tokens = layout.Add(flat.tokens());
  arrays_.tables = layout.Add(flat.tables());
  arrays_.sequences = layout.Add(flat.sequences());
  arrays_.logits_rows = layout.Add(flat.logits_rows());
  arrays_.folds = layout.Add(absl::MakeConstSpan(plan_.folds));
  return layout.Upload(stream);
}

absl::Status CudaStep::Sample(TensorView logits,
                              absl::Span<const SampleRow> rows,
                              int32_t* lane_tokens,
                              float* edited,
                              const Stream& stream) {
  top_ = PlanSampling(rows, limits_.vocab_size, &tasks_, &edits_);
  if (tasks_.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(
      Reserve(RoundUp(tasks_.size() * sizeof(SampleTask)) + edits_.size() * sizeof(LogitEdit),
              &sample_staging_,
              &sample_device_));
  const size_t tokens = tasks_.size() * sizeof(SampledToken);
  const size_t bytes = RoundUp(tokens) + top_ * sizeof(TokenLogprob);
  RETURN_IF_ERROR(Reserve(bytes, &host_results_, &results_));
  Layout layout(sample_staging_, sample_device_);
  SampleArgs args;
  args.logits = static_cast<const float*>(logits.data);
  args.logits_stride = logits.row_stride;
  args.vocab = limits_.vocab_size;
  args.tasks = layout.Add(absl::MakeConstSpan(tasks_));
  args.edits = layout.Add(absl::MakeConstSpan(edits_));
  args.num_tasks = static_cast<int32_t>(tasks_.size());
  args.edited = edited;
  args.tokens = results_.data<SampledToken>();
  args.top = reinterpret_cast<TokenLogprob*>(results_.data<std::byte>() + RoundUp(tokens));
  args.lane_tokens = lane_tokens;
  RETURN_IF_ERROR(layout.Upload(stream));
  RETURN_IF_ERROR(ToStatus(RunSampling(args, stream.get()), "sampling"));
  return ToStatus(cudaMemcpyAsync(host_results_.data(),
                                  results_.data(),
                                  bytes,
                                  cudaMemcpyDeviceToHost,
                                  stream.get()),
                  "reading sampled tokens");
}

absl::Status CudaStep::Record(const Stream& stream) {
  return ToStatus(cudaEventRecord(done_.get(), stream.get()), "ending a step");
}

absl::StatusOr<const StepOutput*> CudaStep::Collect() {
  RETURN_IF_ERROR(ToStatus(cudaEventSynchronize(done_.get()), "waiting for a step"));
  const auto* const tokens = host_results_.data<SampledToken>();
  const auto* const top = reinterpret_cast<const TokenLogprob*>(
      host_results_.data<std::byte>() + RoundUp(tasks_.size() * sizeof(SampledToken)));
  output_.tokens.assign(tokens, tokens + tasks_.size());
  output_.top.assign(top, top + (tasks_.empty() ? 0 : top_));
  return &output_;
}

}  // namespace pagoda::cuda
