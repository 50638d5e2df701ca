// A prepared step on its way through the device: what is uploaded for it, and what comes back.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "kernels/comm/communicator.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/resources.h"
#include "kernels/cuda/sampling.h"
#include "kernels/flat_step.h"

namespace pagoda::cuda {

// Where an array of the step lies in device memory.
struct StepArrays {
  const StepToken* tokens = nullptr;
  const TableUpdate* updates = nullptr;
  const int32_t* entries = nullptr;
  const StepSequence* sequences = nullptr;
  const int32_t* logits_rows = nullptr;
  const AttentionFold* folds = nullptr;
};

// Memory that the steps of an epoch share.
struct SampleMemory {
  int32_t* lane_tokens = nullptr;  // [max_lanes]
  float* edited = nullptr;         // [max_sample_rows, vocab]
};

class CudaStep final : public PreparedStep {
 public:
  // Allocates what steps within `limits` need. Attention runs in rounds of `slots` items.
  static absl::StatusOr<std::unique_ptr<CudaStep>> Make(const StepLimits& limits, int32_t slots);

  CudaStep(const StepLimits& limits, int32_t slots)
      : limits_(limits), slots_(slots), flat_(limits) {}

  // Device bytes that Make takes.
  static size_t Bytes(const StepLimits& limits, int32_t slots);

  // Becomes `input`, as Backend::Prepare, and queues its one upload, from which the lanes' `tables`
  // are brought up to date.
  absl::Status Fill(const StepInput& input,
                    const KvPool& pool,
                    int32_t* tables,
                    const Stream& stream);

  // Queues the sampling of `rows`, as Backend::Sample, and the way back of its results. Rows of
  // which not all fit into a plan are drawn in rounds, each but the last waited for.
  absl::Status Sample(TensorView logits,
                      absl::Span<const SampleRow> rows,
                      const SampleMemory& memory,
                      Communicator& comm,
                      const Stream& stream);

  // Marks the end of the step's work so far.
  absl::Status Record(const Stream& stream);
  // Waits for it and reads the results.
  absl::StatusOr<const StepOutput*> Collect();

  int64_t num_rows() const override { return static_cast<int64_t>(flat_.tokens().size()); }
  int64_t num_logits_rows() const override {
    return static_cast<int64_t>(flat_.logits_rows().size());
  }
  const FlatStep& flat() const { return flat_; }
  const StepArrays& arrays() const { return arrays_; }
  absl::Span<const AttentionPlan::Round> rounds() const { return plan_.rounds; }
  cudaEvent_t done() const { return done_.get(); }

 private:
  absl::Status DrawRound(TensorView logits,
                         const SampleMemory& memory,
                         Communicator& comm,
                         const Stream& stream);
  // Takes over the results of a round, which are there.
  void TakeRound();

  const StepLimits limits_;
  const int32_t slots_;
  FlatStep flat_;
  AttentionPlan plan_;
  PinnedBuffer staging_;  // the upload
  DeviceBuffer device_;
  StepArrays arrays_;

  SamplePlan round_;  // that is under way
  PinnedBuffer sample_staging_;
  DeviceBuffer sample_device_;
  DeviceBuffer results_;       // SampledToken [max_sample_rows], TokenLogprob
  PinnedBuffer host_results_;  // the same
  Event done_;
  StepOutput output_;
};

}  // namespace pagoda::cuda
