#include "kernels/cpu/cpu_step.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace pagoda::cpu {

CpuStep::CpuStep(const StepLimits& limits) : flat_(limits) {
  sequences_.reserve(limits.max_lanes);
  output_.tokens.reserve(limits.max_sample_rows);
}

absl::Status CpuStep::Fill(const StepInput& input,
                           const KvPool& pool,
                           std::vector<int32_t>* tables) {
  sequences_.clear();
  items_heads_ = 0;
  output_.tokens.clear();
  output_.top.clear();
  RETURN_IF_ERROR(flat_.Fill(input, pool));
  for (const TableUpdate& update : flat_.updates()) {
    std::copy_n(flat_.entries().data() + update.begin,
                update.count,
                tables->data() + update.table + update.first);
  }
  for (const StepSequence& sequence : flat_.sequences()) {
    sequences_.push_back({.blocks = tables->data() + sequence.table,
                          .first_position = sequence.first_position,
                          .first_row = sequence.first_row,
                          .num_rows = sequence.num_rows,
                          .window = sequence.window});
  }
  return absl::OkStatus();
}

absl::Status CpuStep::ResolveTokens(absl::Span<const int32_t> lane_tokens) {
  for (StepToken& token : flat_.tokens()) {
    if (token.token != kLaneToken) continue;
    token.token = lane_tokens[token.lane];
    if (token.token == kLaneToken) {
      return absl::FailedPreconditionError(
          absl::StrCat("lane ", token.lane, " has no last token to continue from"));
    }
  }
  return absl::OkStatus();
}

const std::vector<AttentionItem>& CpuStep::AttentionItems(const AttentionShape& shape) {
  if (items_heads_ != shape.num_heads || items_kv_heads_ != shape.num_kv_heads) {
    items_.clear();
    PlanAttention(shape, sequences_.data(), static_cast<int>(sequences_.size()), &items_);
    items_heads_ = shape.num_heads;
    items_kv_heads_ = shape.num_kv_heads;
  }
  return items_;
}

}  // namespace pagoda::cpu
