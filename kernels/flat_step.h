// A step as kernels want it: its tokens, sequences and what is new in their block tables in flat
// arrays, checked. The tables themselves stay with the device, one for each lane.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/backend.h"

namespace pagoda {

struct StepToken {
  int32_t token;  // id; kLaneToken: the lane's last one
  int32_t lane;
  int32_t position;  // absolute
  int32_t block;     // of the pool
  int32_t slot;      // within the block
};

// A sequence's tokens are rows [first_row, first_row + num_rows) of the step.
struct StepSequence {
  int32_t table;  // of the device's tables, its own begins here: its lane's
  int32_t first_position;
  int32_t first_row;
  int32_t num_rows;
  int32_t window;  // positions a row sees, its own included; 0: all
};

// Entries [first, first + count) of a lane's table become entries()[begin, begin + count).
struct TableUpdate {
  int32_t table;  // as in StepSequence
  int32_t first;
  int32_t count;
  int32_t begin;
};

// INVALID_ARGUMENT for limits that no device has.
absl::Status CheckStepLimits(const StepLimits& limits);

// Entries of a lane's table. A device's tables are max_lanes of these.
constexpr int32_t TableStride(const StepLimits& limits) {
  return (limits.max_model_len - 1) / limits.block_size + 1;
}

class FlatStep {
 public:
  static constexpr int32_t kLaneToken = -1;

  // Reserves what steps within `limits` need, but for table entries, which grow to the most seen.
  explicit FlatStep(const StepLimits& limits);

  // Becomes `input`, as Backend::Prepare.
  absl::Status Fill(const StepInput& input, const KvPool& pool);

  const KvPool& pool() const { return *pool_; }
  absl::Span<StepToken> tokens() { return absl::MakeSpan(tokens_); }
  absl::Span<const StepToken> tokens() const { return tokens_; }
  // Of the device's tables; done before the step, in order.
  absl::Span<const TableUpdate> updates() const { return updates_; }
  absl::Span<const int32_t> entries() const { return entries_; }
  absl::Span<const StepSequence> sequences() const { return sequences_; }
  absl::Span<const int32_t> logits_rows() const { return logits_rows_; }  // rows of the step

 private:
  int64_t num_rows() const { return static_cast<int64_t>(tokens_.size()); }
  absl::Status CheckSequence(const SequenceInput& input) const;
  absl::Status CheckBlocks(const SequenceInput& input, int64_t end) const;
  void AddSequence(const SequenceInput& input);  // REQUIRES: checked
  void AddUpdate(const SequenceInput& input);
  absl::Status AddLogitsRows(const StepInput& input);

  const StepLimits limits_;
  const KvPool* pool_ = nullptr;
  std::vector<StepToken> tokens_;
  std::vector<TableUpdate> updates_;
  std::vector<int32_t> entries_;
  std::vector<StepSequence> sequences_;
  std::vector<int32_t> logits_rows_;
};

}  // namespace pagoda
