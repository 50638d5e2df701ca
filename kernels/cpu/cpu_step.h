// A prepared step: its rows and sequences, checked and flattened for the kernels.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "kernels/cpu/attention.h"
#include "kernels/flat_step.h"

namespace pagoda::cpu {

class CpuStep final : public PreparedStep {
 public:
  static constexpr int32_t kLaneToken = FlatStep::kLaneToken;

  explicit CpuStep(const StepLimits& limits);

  // Becomes `input`, as Backend::Prepare. `tables` are those of the lanes and outlive the step.
  absl::Status Fill(const StepInput& input, const KvPool& pool, std::vector<int32_t>* tables);

  // Gives rows without a token their lane's last. FAILED_PRECONDITION where the lane has none.
  absl::Status ResolveTokens(absl::Span<const int32_t> lane_tokens);

  int64_t num_rows() const override { return static_cast<int64_t>(flat_.tokens().size()); }
  int64_t num_logits_rows() const override {
    return static_cast<int64_t>(flat_.logits_rows().size());
  }

  const KvPool& pool() const { return flat_.pool(); }
  absl::Span<const StepToken> tokens() const { return flat_.tokens(); }
  absl::Span<const AttentionSequence> sequences() const { return sequences_; }
  const int32_t* logits_rows() const { return flat_.logits_rows().data(); }  // rows of the step
  StepOutput& output() { return output_; }

  // The step's attention, divided for `shape`; the same for every layer of one shape.
  const std::vector<AttentionItem>& AttentionItems(const AttentionShape& shape);

 private:
  FlatStep flat_;
  std::vector<AttentionSequence> sequences_;
  std::vector<AttentionItem> items_;
  int items_heads_ = 0;  // query and KV heads that items_ was made for; 0: not made
  int items_kv_heads_ = 0;
  StepOutput output_;
};

}  // namespace pagoda::cpu
