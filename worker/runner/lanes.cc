#include "worker/runner/lanes.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/check.h"
#include "common/hash.h"
#include "common/status.h"

namespace pagoda {
namespace {

template <class... Args>
absl::Status Invalid(const Args&... args) {
  return absl::InvalidArgumentError(absl::StrCat(args...));
}

void PutLittleEndian(uint32_t value, std::vector<char>* out) {
  for (int shift = 0; shift < 32; shift += 8) out->push_back(static_cast<char>(value >> shift));
}

}  // namespace

Lanes::Lanes(const LaneLimits& limits)
    : limits_(limits),
      max_blocks_((limits.max_model_len - 1) / limits.block_size + 1),
      lanes_(limits.max_lanes) {
  CHECK_GT(limits.max_lanes, 0);
  CHECK_GT(limits.max_model_len, 0);
  CHECK_GT(limits.block_size, 0);
  CHECK_GT(limits.num_blocks, 0);
  CHECK_GT(limits.vocab_size, 0);
  bound_.reserve(limits.max_lanes);
  forked_.reserve(limits.max_lanes);
}

absl::Status Lanes::CheckBlock(uint32_t block) const {
  if (block >= 1 && block <= static_cast<uint32_t>(limits_.num_blocks)) return absl::OkStatus();
  return Invalid("block ", block, ": blocks are 1 to ", limits_.num_blocks);
}

absl::Status Lanes::CheckBound(uint32_t lane) const {
  if (lane >= lanes_.size()) return Invalid("lane ", lane, ": lanes are 0 to ", lanes_.size() - 1);
  if (!lanes_[lane].bound) return Invalid("lane ", lane, " is not bound");
  return absl::OkStatus();
}

absl::Status Lanes::CheckFree(uint32_t lane) const {
  if (lane >= lanes_.size()) return Invalid("lane ", lane, ": lanes are 0 to ", lanes_.size() - 1);
  if (lanes_[lane].bound) return Invalid("lane ", lane, " is bound already");
  return absl::OkStatus();
}

Lane& Lanes::Occupy(uint32_t index) {
  const int32_t id = static_cast<int32_t>(index);
  bound_.insert(std::upper_bound(bound_.begin(), bound_.end(), id), id);
  Lane& lane = lanes_[index];
  lane.history.reserve(limits_.max_model_len);
  lane.blocks.reserve(max_blocks_);
  lane.bound = true;
  ++lane.binding;
  lane.blocks_sent = 0;
  lane.follows = Lane::kNobody;
  return lane;
}

absl::Status Lanes::Bind(uint32_t lane,
                         absl::Span<const uint32_t> tokens,
                         uint32_t prompt_tokens,
                         uint32_t length,
                         const LaneSampling& sampling) {
  RETURN_IF_ERROR(CheckFree(lane));
  if (tokens.empty() || tokens.size() > static_cast<size_t>(limits_.max_model_len)) {
    return Invalid("lane ",
                   lane,
                   " is bound with ",
                   tokens.size(),
                   " tokens: 1 to ",
                   limits_.max_model_len,
                   " are possible");
  }
  if (prompt_tokens > tokens.size()) {
    return Invalid("lane ", lane, ": ", prompt_tokens, " prompt tokens of ", tokens.size());
  }
  if (length >= tokens.size()) {
    return Invalid("lane ",
                   lane,
                   ": length ",
                   length,
                   " leaves none of ",
                   tokens.size(),
                   " tokens");
  }
  for (uint32_t token : tokens) {
    if (token < static_cast<uint32_t>(limits_.vocab_size)) continue;
    return Invalid("lane ", lane, ": token ", token, ": the vocabulary has ", limits_.vocab_size);
  }
  Lane& bound = Occupy(lane);
  bound.length = static_cast<int32_t>(length);
  bound.history.assign(tokens.begin(), tokens.end());
  bound.blocks.clear();
  bound.sampling = sampling;
  return absl::OkStatus();
}

absl::Status Lanes::Fork(uint32_t source, uint32_t lane, const LaneSampling& sampling) {
  RETURN_IF_ERROR(CheckBound(source));
  RETURN_IF_ERROR(CheckFree(lane));
  Lane& fork = Occupy(lane);
  const Lane& from = lanes_[source];
  fork.length = from.length;
  fork.history = from.history;
  fork.blocks = from.blocks;
  fork.sampling = sampling;
  fork.follows = from.follows == Lane::kNobody ? static_cast<int32_t>(source) : from.follows;
  forked_.push_back(static_cast<int32_t>(lane));
  return absl::OkStatus();
}

absl::Status Lanes::Append(uint32_t lane, uint32_t first, uint32_t count) {
  RETURN_IF_ERROR(CheckBound(lane));
  RETURN_IF_ERROR(CheckBlock(first));
  std::vector<int32_t>& blocks = lanes_[lane].blocks;
  if (count == 0 || count > static_cast<uint32_t>(limits_.num_blocks) - first + 1) {
    return Invalid("lane ",
                   lane,
                   ": ",
                   count,
                   " blocks from ",
                   first,
                   ": blocks are 1 to ",
                   limits_.num_blocks);
  }
  if (blocks.size() + count > static_cast<size_t>(max_blocks_)) {
    return Invalid("lane ",
                   lane,
                   ": a table of ",
                   blocks.size() + count,
                   " blocks: ",
                   max_blocks_,
                   " hold max_model_len");
  }
  for (uint32_t i = 0; i < count; ++i) blocks.push_back(static_cast<int32_t>(first + i));
  return absl::OkStatus();
}

absl::Status Lanes::Set(uint32_t lane, uint32_t index, uint32_t block) {
  RETURN_IF_ERROR(CheckBound(lane));
  RETURN_IF_ERROR(CheckBlock(block));
  std::vector<int32_t>& blocks = lanes_[lane].blocks;
  if (index >= blocks.size()) {
    return Invalid("lane ", lane, ": entry ", index, " of a table of ", blocks.size());
  }
  blocks[index] = static_cast<int32_t>(block);
  lanes_[lane].blocks_sent = std::min(lanes_[lane].blocks_sent, static_cast<int32_t>(index));
  return absl::OkStatus();
}

absl::Status Lanes::Truncate(uint32_t lane, uint32_t tokens) {
  RETURN_IF_ERROR(CheckBound(lane));
  Lane& cut = lanes_[lane];
  const size_t kept = std::min<size_t>(cut.history.size(), tokens);
  const size_t block_size = static_cast<size_t>(limits_.block_size);
  cut.history.resize(kept);
  cut.length = std::min(cut.length, static_cast<int32_t>(kept));
  cut.blocks.resize(std::min(cut.blocks.size(), (kept + block_size - 1) / block_size));
  cut.blocks_sent = std::min(cut.blocks_sent, static_cast<int32_t>(cut.blocks.size()));
  return absl::OkStatus();
}

absl::Status Lanes::Unbind(uint32_t lane) {
  RETURN_IF_ERROR(CheckBound(lane));
  const int32_t id = static_cast<int32_t>(lane);
  bound_.erase(std::lower_bound(bound_.begin(), bound_.end(), id));
  lanes_[lane].bound = false;
  for (int32_t fork : forked_) {
    if (lanes_[fork].follows == id) lanes_[fork].follows = Lane::kNobody;
  }
  return absl::OkStatus();
}

void Lanes::Advance(int32_t lane, int32_t tokens) {
  Lane& moved = lanes_[lane];
  moved.length += tokens;
  CHECK(moved.bound);
  CHECK_LE(moved.length, moved.history.size());
}

PendingToken Lanes::Draw(int32_t lane) {
  Lane& drawing = lanes_[lane];
  CHECK(drawing.bound);
  CHECK_LT(drawing.history.size(), limits_.max_model_len);
  drawing.history.push_back(Lane::kUnknown);
  return {.lane = lane,
          .binding = drawing.binding,
          .index = static_cast<int32_t>(drawing.history.size()) - 1};
}

void Lanes::Learn(const PendingToken& pending, int32_t token) {
  Lane& lane = lanes_[pending.lane];
  if (!lane.bound || lane.binding != pending.binding) return;
  if (static_cast<size_t>(pending.index) < lane.history.size()) lane.history[pending.index] = token;
}

void Lanes::EndPlan() {
  for (int32_t fork : forked_) lanes_[fork].follows = Lane::kNobody;
  forked_.clear();
}

uint64_t Lanes::Digest() {
  RunningHash hash;
  for (int32_t index : bound_) {
    const std::vector<int32_t>& blocks = lanes_[index].blocks;
    digest_buffer_.clear();
    PutLittleEndian(static_cast<uint32_t>(index), &digest_buffer_);
    PutLittleEndian(static_cast<uint32_t>(blocks.size()), &digest_buffer_);
    for (int32_t block : blocks) PutLittleEndian(static_cast<uint32_t>(block), &digest_buffer_);
    hash.Add(absl::string_view(digest_buffer_.data(), digest_buffer_.size()));
  }
  return hash.value();
}

}  // namespace pagoda
