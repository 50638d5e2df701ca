// A prepared step: its rows and sequences, checked and flattened for the kernels.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/kv_pool.h"

namespace pagoda::cpu {

struct StepToken {
  int32_t token;  // id; kLaneToken: the lane's last one, filled in by ResolveTokens
  int32_t lane;
  int32_t position;  // absolute
  int32_t block;     // of the pool
  int32_t slot;      // within the block
};

class CpuStep final : public PreparedStep {
 public:
  static constexpr int32_t kLaneToken = -1;

  // Reserves what steps within `limits` need, but for block tables, which grow to the longest seen.
  explicit CpuStep(const StepLimits& limits);

  // Becomes `input`, as Backend::Prepare.
  absl::Status Fill(const StepInput& input, const CpuKvPool& pool);

  // Gives rows without a token their lane's last. FAILED_PRECONDITION where the lane has none.
  absl::Status ResolveTokens(absl::Span<const int32_t> lane_tokens);

  int64_t num_rows() const override { return static_cast<int64_t>(tokens_.size()); }
  int64_t num_logits_rows() const override { return static_cast<int64_t>(logits_rows_.size()); }

  const CpuKvPool& pool() const { return *pool_; }
  absl::Span<const StepToken> tokens() const { return tokens_; }
  absl::Span<const AttentionSequence> sequences() const { return sequences_; }
  const int32_t* logits_rows() const { return logits_rows_.data(); }  // rows of the step
  StepOutput& output() { return output_; }

  // The step's attention, divided for `shape`; the same for every layer of one shape.
  const std::vector<AttentionItem>& AttentionItems(const AttentionShape& shape);

 private:
  absl::Status CheckSequence(const SequenceInput& input) const;
  absl::Status CheckBlocks(const SequenceInput& input, int64_t end) const;
  void AddSequence(const SequenceInput& input);  // REQUIRES: checked
  absl::Status AddLogitsRows(const StepInput& input);

  const StepLimits limits_;
  const CpuKvPool* pool_ = nullptr;
  std::vector<StepToken> tokens_;
  std::vector<int32_t> block_tables_;  // of all sequences
  std::vector<AttentionSequence> sequences_;
  std::vector<int32_t> logits_rows_;
  std::vector<AttentionItem> items_;
  int items_heads_ = 0;  // query and KV heads that items_ was made for; 0: not made
  int items_kv_heads_ = 0;
  StepOutput output_;
};

}  // namespace pagoda::cpu
