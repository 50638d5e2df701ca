#include "worker/runner/step_builder.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace pagoda {
namespace {

template <class... Args>
absl::Status Invalid(const Args&... args) {
  return absl::InvalidArgumentError(absl::StrCat(args...));
}

// The blocks of positions [0, tokens).
int32_t BlocksOf(int32_t tokens, int32_t block_size) {
  return (tokens + block_size - 1) / block_size;
}

}  // namespace

StepBuilder::StepBuilder(const Lanes& lanes, int32_t max_step_tokens, int32_t window)
    : lanes_(lanes),
      max_step_tokens_(max_step_tokens),
      window_(window),
      written_(static_cast<size_t>(lanes.limits().num_blocks) + 1),
      rows_(lanes.limits().max_lanes) {
  const size_t most = static_cast<size_t>(std::min(lanes.limits().max_lanes, max_step_tokens));
  sequences_.reserve(most);
  logits_rows_.reserve(most);
  sample_rows_.reserve(lanes.limits().max_lanes);
}

absl::Status StepBuilder::Build(
    const google::protobuf::RepeatedPtrField<v1::RowException>& exceptions) {
  ++builds_;
  step_tokens_ = 0;
  sequences_.clear();
  logits_rows_.clear();
  sample_rows_.clear();
  for (int32_t lane : lanes_.bound()) rows_[lane] = {.tokens = 1};
  RETURN_IF_ERROR(ReadExceptions(exceptions));
  for (int32_t lane : lanes_.bound()) {
    if (lanes_.lane(lane).follows == Lane::kNobody) RETURN_IF_ERROR(AddRow(lane));
  }
  for (int32_t lane : lanes_.bound()) {
    if (lanes_.lane(lane).follows != Lane::kNobody) RETURN_IF_ERROR(Follow(lane));
    if (rows_[lane].logits_row >= 0) AddSampleRow(lane);
  }
  return absl::OkStatus();
}

absl::Status StepBuilder::ReadExceptions(
    const google::protobuf::RepeatedPtrField<v1::RowException>& from) {
  int64_t last = -1;
  for (const v1::RowException& exception : from) {
    const uint32_t lane = exception.lane();
    RETURN_IF_ERROR(lanes_.CheckBound(lane));
    if (lane <= last) return Invalid("row exceptions: lane ", lane, " after lane ", last);
    last = lane;
    if (exception.all_logits()) return absl::UnimplementedError("all_logits is not built yet");
    if (lanes_.lane(static_cast<int32_t>(lane)).follows != Lane::kNobody) {
      return Invalid("lane ", lane, " was forked in this plan and shares its source's row");
    }
    switch (exception.exception_case()) {
      case v1::RowException::kChunk:
        if (exception.chunk() == 0 || exception.chunk() > static_cast<uint32_t>(max_step_tokens_)) {
          return Invalid("lane ",
                         lane,
                         ": a chunk of ",
                         exception.chunk(),
                         " tokens: 1 to ",
                         max_step_tokens_,
                         " are possible");
        }
        rows_[lane].tokens = static_cast<int32_t>(exception.chunk());
        break;
      case v1::RowException::kHold:
        if (!exception.hold()) return Invalid("lane ", lane, ": hold is false");
        rows_[lane].tokens = 0;
        break;
      case v1::RowException::kDraft:
        return absl::UnimplementedError("draft rows are not built yet");
      case v1::RowException::EXCEPTION_NOT_SET:
        return Invalid("lane ", lane, ": a row exception that says nothing");
    }
  }
  return absl::OkStatus();
}

absl::Status StepBuilder::AddRow(int32_t index) {
  Row& row = rows_[index];
  if (row.tokens == 0) return absl::OkStatus();
  RETURN_IF_ERROR(CheckRow(index, row.tokens));
  RETURN_IF_ERROR(ClaimBlocks(index, row.tokens));
  step_tokens_ += row.tokens;
  const Lane& lane = lanes_.lane(index);
  const int32_t end = lane.length + row.tokens;
  const bool draws = end == static_cast<int32_t>(lane.history.size());
  if (draws) {
    row.logits_row = static_cast<int32_t>(logits_rows_.size());
    logits_rows_.push_back(
        {.sequence = static_cast<int32_t>(sequences_.size()), .token_offset = row.tokens - 1});
  }
  SequenceInput sequence;
  sequence.lane = index;
  sequence.start = lane.length;
  sequence.num_tokens = row.tokens;
  sequence.block_table = lane.blocks;
  sequence.table_kept = lane.blocks_sent;
  sequence.window = window_;
  // The lane's last token is on the device; anything else is told.
  if (!draws || row.tokens != 1) {
    sequence.tokens = absl::MakeConstSpan(lane.history).subspan(lane.length, row.tokens);
  }
  sequences_.push_back(sequence);
  return absl::OkStatus();
}

absl::Status StepBuilder::CheckRow(int32_t index, int32_t tokens) const {
  const Lane& lane = lanes_.lane(index);
  const int32_t left = static_cast<int32_t>(lane.history.size()) - lane.length;
  if (tokens > left) {
    return Invalid("lane ",
                   index,
                   ": ",
                   tokens,
                   " tokens to process, its history has ",
                   left,
                   " left");
  }
  if (tokens == left && lane.history.size() == static_cast<size_t>(lanes_.limits().max_model_len)) {
    return Invalid("lane ", index, ": no room to draw beyond max_model_len ", lane.history.size());
  }
  if (tokens > max_step_tokens_ - step_tokens_) {
    return Invalid("lane ",
                   index,
                   ": ",
                   int64_t{step_tokens_} + tokens,
                   " tokens in a step of at most ",
                   max_step_tokens_);
  }
  const int32_t blocks = BlocksOf(lane.length + tokens, lanes_.limits().block_size);
  if (lane.blocks.size() < static_cast<size_t>(blocks)) {
    return Invalid("lane ",
                   index,
                   ": a table of ",
                   lane.blocks.size(),
                   " blocks, ",
                   lane.length + tokens,
                   " tokens need ",
                   blocks);
  }
  return absl::OkStatus();
}

// Two rows that write one block would race on the device.
absl::Status StepBuilder::ClaimBlocks(int32_t index, int32_t tokens) {
  const Lane& lane = lanes_.lane(index);
  const int32_t block_size = lanes_.limits().block_size;
  const int32_t end = BlocksOf(lane.length + tokens, block_size);
  for (int32_t i = lane.length / block_size; i < end; ++i) {
    const int32_t block = lane.blocks[i];
    if (written_[block] == builds_) {
      return Invalid("lane ", index, ": block ", block, " is written twice in this step");
    }
    written_[block] = builds_;
  }
  return absl::OkStatus();
}

absl::Status StepBuilder::Follow(int32_t index) {
  const Lane& lane = lanes_.lane(index);
  const Lane& source = lanes_.lane(lane.follows);
  const int32_t tokens = rows_[lane.follows].tokens;
  const size_t blocks = BlocksOf(source.length + tokens, lanes_.limits().block_size);
  const bool same = lane.length == source.length && lane.history.size() == source.history.size() &&
                    (tokens == 0 || (lane.blocks.size() >= blocks &&
                                     std::equal(lane.blocks.begin(),
                                                lane.blocks.begin() + static_cast<int64_t>(blocks),
                                                source.blocks.begin())));
  if (!same) {
    return Invalid("lane ", index, " was forked in this plan and differs from lane ", lane.follows);
  }
  rows_[index] = rows_[lane.follows];
  return absl::OkStatus();
}

void StepBuilder::AddSampleRow(int32_t index) {
  const Lane& lane = lanes_.lane(index);
  SampleRow sample;
  sample.logits_row = rows_[index].logits_row;
  sample.lane = index;
  sample.params = lane.sampling.params;
  sample.position = static_cast<int64_t>(lane.history.size());
  sample.sequence_index = lane.sampling.sequence_index;
  sample_rows_.push_back(sample);
}

}  // namespace pagoda
