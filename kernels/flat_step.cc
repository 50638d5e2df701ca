#include "kernels/flat_step.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace pagoda {
namespace {

template <class... Args>
absl::Status Invalid(const Args&... args) {
  return absl::InvalidArgumentError(absl::StrCat(args...));
}

// One token, which is the lane's last.
bool Implicit(const SequenceInput& input) { return input.tokens.empty() && input.num_tokens == 1; }

constexpr int32_t kMaxLimit = 1 << 28;

}  // namespace

absl::Status CheckStepLimits(const StepLimits& limits) {
  for (const int32_t limit : {limits.max_tokens,
                              limits.max_lanes,
                              limits.max_logits_rows,
                              limits.max_sample_rows,
                              limits.max_model_len,
                              limits.block_size,
                              limits.vocab_size,
                              limits.num_q_heads,
                              limits.num_kv_heads,
                              limits.head_dim}) {
    if (limit < 1 || limit > kMaxLimit) {
      return Invalid("step limit ", limit, ": expected 1 to ", kMaxLimit);
    }
  }
  const int64_t entries = int64_t{limits.max_lanes} * TableStride(limits);
  if (entries <= INT32_MAX) return absl::OkStatus();
  return Invalid(limits.max_lanes,
                 " block tables of ",
                 TableStride(limits),
                 " entries: ",
                 INT32_MAX,
                 " entries are possible");
}

FlatStep::FlatStep(const StepLimits& limits) : limits_(limits) {
  tokens_.reserve(limits.max_tokens);
  updates_.reserve(limits.max_lanes);
  sequences_.reserve(limits.max_lanes);
  logits_rows_.reserve(limits.max_logits_rows);
}

absl::Status FlatStep::Fill(const StepInput& input, const KvPool& pool) {
  pool_ = &pool;
  tokens_.clear();
  updates_.clear();
  entries_.clear();
  sequences_.clear();
  logits_rows_.clear();
  for (const SequenceInput& sequence : input.sequences) {
    RETURN_IF_ERROR(CheckSequence(sequence));
    AddSequence(sequence);
  }
  return AddLogitsRows(input);
}

absl::Status FlatStep::AddLogitsRows(const StepInput& input) {
  if (input.logits_rows.size() > static_cast<size_t>(limits_.max_logits_rows)) {
    return Invalid(input.logits_rows.size(), " logits rows: limit ", limits_.max_logits_rows);
  }
  for (const LogitsRow& row : input.logits_rows) {
    if (row.sequence < 0 || static_cast<size_t>(row.sequence) >= sequences_.size()) {
      return Invalid("logits of sequence ", row.sequence, " of ", sequences_.size());
    }
    const StepSequence& sequence = sequences_[row.sequence];
    if (row.token_offset < 0 || row.token_offset >= sequence.num_rows) {
      return Invalid("logits of token ", row.token_offset, " of ", sequence.num_rows);
    }
    logits_rows_.push_back(sequence.first_row + row.token_offset);
  }
  return absl::OkStatus();
}

absl::Status FlatStep::CheckSequence(const SequenceInput& input) const {
  const int lane = input.lane;
  if (lane < 0 || lane >= limits_.max_lanes) {
    return Invalid("lane ", lane, ": lanes are 0 to ", limits_.max_lanes - 1);
  }
  if (sequences_.size() == static_cast<size_t>(limits_.max_lanes)) {
    return Invalid("more sequences than the ", limits_.max_lanes, " lanes");
  }
  const int64_t end = int64_t{input.start} + input.num_tokens;
  if (input.start < 0 || input.num_tokens < 1 || end > limits_.max_model_len) {
    return Invalid("lane ",
                   lane,
                   ": positions from ",
                   input.start,
                   " to ",
                   end,
                   " of ",
                   limits_.max_model_len);
  }
  if (num_rows() + input.num_tokens > limits_.max_tokens) {
    return Invalid(num_rows() + input.num_tokens, " tokens in a step: limit ", limits_.max_tokens);
  }
  if (!Implicit(input) && input.tokens.size() != static_cast<size_t>(input.num_tokens)) {
    return Invalid("lane ",
                   lane,
                   ": ",
                   input.tokens.size(),
                   " ids for ",
                   input.num_tokens,
                   " tokens");
  }
  for (int32_t token : input.tokens) {
    if (token >= 0 && token < limits_.vocab_size) continue;
    return Invalid("lane ", lane, ": token ", token, ": the vocabulary has ", limits_.vocab_size);
  }
  if (input.window < 0) return Invalid("lane ", lane, ": window ", input.window);
  return CheckBlocks(input, end);
}

absl::Status FlatStep::CheckBlocks(const SequenceInput& input, int64_t end) const {
  const int block_size = pool_->layout().block_size;
  const int64_t blocks = (end + block_size - 1) / block_size;
  if (static_cast<int64_t>(input.block_table.size()) < blocks) {
    return Invalid("lane ",
                   input.lane,
                   ": ",
                   input.block_table.size(),
                   " blocks of ",
                   block_size,
                   " for ",
                   end,
                   " tokens");
  }
  const int64_t size = static_cast<int64_t>(input.block_table.size());
  if (size > TableStride(limits_) || input.table_kept < 0 || input.table_kept > size) {
    return Invalid("lane ",
                   input.lane,
                   ": a table of ",
                   size,
                   " blocks, ",
                   input.table_kept,
                   " of them known: limit ",
                   TableStride(limits_));
  }
  // What is known was checked when it was new.
  const int64_t first_seen = input.window == 0 ? 0 : std::max(0, input.start - input.window + 1);
  for (int64_t i = std::max<int64_t>(first_seen / block_size, input.table_kept); i < size; ++i) {
    const int32_t block = input.block_table[i];
    if (block >= 1 && block < pool_->num_blocks()) continue;
    return Invalid("lane ",
                   input.lane,
                   ": block ",
                   block,
                   ": blocks are 1 to ",
                   pool_->num_blocks() - 1);
  }
  return absl::OkStatus();
}

void FlatStep::AddSequence(const SequenceInput& input) {
  const int block_size = pool_->layout().block_size;
  AddUpdate(input);
  sequences_.push_back({.table = input.lane * TableStride(limits_),
                        .first_position = input.start,
                        .first_row = static_cast<int32_t>(num_rows()),
                        .num_rows = input.num_tokens,
                        .window = input.window});
  for (int32_t i = 0; i < input.num_tokens; ++i) {
    const int32_t position = input.start + i;
    tokens_.push_back({.token = Implicit(input) ? kLaneToken : input.tokens[i],
                       .lane = input.lane,
                       .position = position,
                       .block = input.block_table[position / block_size],
                       .slot = position % block_size});
  }
}

void FlatStep::AddUpdate(const SequenceInput& input) {
  const int32_t count = static_cast<int32_t>(input.block_table.size()) - input.table_kept;
  if (count == 0) return;
  updates_.push_back({.table = input.lane * TableStride(limits_),
                      .first = input.table_kept,
                      .count = count,
                      .begin = static_cast<int32_t>(entries_.size())});
  entries_.insert(entries_.end(),
                  input.block_table.begin() + input.table_kept,
                  input.block_table.end());
}

}  // namespace pagoda
