#include "coordinator/transport/plan_encoder.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace pagoda {
namespace {

// Protocol Buffers wire types.
constexpr uint32_t kVarint = 0;
constexpr uint32_t kFixed64 = 1;
constexpr uint32_t kBytes = 2;
constexpr uint32_t kFixed32 = 5;

void PutVarint(uint64_t value, std::string* out) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

void PutTag(uint32_t field, uint32_t type, std::string* out) { PutVarint(field << 3 | type, out); }

// A field with its default value is left out, as proto3 does.
void PutUint(uint32_t field, uint64_t value, std::string* out) {
  if (value == 0) return;
  PutTag(field, kVarint, out);
  PutVarint(value, out);
}

void PutInt(uint32_t field, int32_t value, std::string* out) {
  PutUint(field, static_cast<uint64_t>(int64_t{value}), out);
}

template <class T>
void PutLittleEndian(T bits, std::string* out) {
  for (size_t i = 0; i < sizeof(T); ++i) out->push_back(static_cast<char>(bits >> (8 * i)));
}

void PutFloat(uint32_t field, float value, std::string* out) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  if (bits == 0) return;
  PutTag(field, kFixed32, out);
  PutLittleEndian(bits, out);
}

void PutFixed64(uint32_t field, uint64_t value, std::string* out) {
  if (value == 0) return;
  PutTag(field, kFixed64, out);
  PutLittleEndian(value, out);
}

void PutMessage(uint32_t field, const std::string& message, std::string* out) {
  PutTag(field, kBytes, out);
  PutVarint(message.size(), out);
  out->append(message);
}

// Fields of SamplingParams.
void PutSampling(const core::PlanBind& bind, std::string* out) {
  const core::SamplingParams& sampling = bind.sampling;
  PutFloat(1, sampling.temperature, out);
  PutFloat(2, sampling.top_p, out);
  PutInt(3, sampling.top_k, out);
  PutFloat(4, sampling.min_p, out);
  PutFixed64(5, sampling.seed, out);
  PutUint(6, bind.sequence_index, out);
  PutInt(7, sampling.logprobs, out);
}

void PutBind(const core::StepPlan& plan,
             const core::PlanOp& op,
             std::string* inner,
             std::string* out) {
  const core::PlanBind& bind = plan.binds[op.bind];
  PutUint(1, static_cast<uint64_t>(op.lane), out);
  inner->clear();
  for (uint32_t i = 0; i < bind.tokens_count; ++i) {
    PutVarint(static_cast<uint64_t>(plan.tokens[bind.tokens_begin + i]), inner);
  }
  PutMessage(2, *inner, out);  // packed
  PutUint(3, bind.prompt_tokens, out);
  inner->clear();
  PutSampling(bind, inner);
  PutMessage(5, *inner, out);
}

// Field number of the kind in Op's oneof.
uint32_t OpField(core::OpKind kind) {
  switch (kind) {
    case core::OpKind::kBind:
      return 1;
    case core::OpKind::kFork:
      return 2;
    case core::OpKind::kAppend:
      return 3;
    case core::OpKind::kSet:
      return 4;
    case core::OpKind::kTruncate:
      return 5;
    case core::OpKind::kUnbind:
      return 6;
    case core::OpKind::kCopy:
      return 7;
  }
  return 0;
}

void PutOpBody(const core::StepPlan& plan,
               const core::PlanOp& op,
               std::string* inner,
               std::string* out) {
  const uint64_t lane = static_cast<uint64_t>(op.lane);
  switch (op.kind) {
    case core::OpKind::kBind:
      PutBind(plan, op, inner, out);
      return;
    case core::OpKind::kFork:
      PutUint(1, op.a, out);
      PutUint(2, lane, out);
      inner->clear();
      PutSampling(plan.binds[op.bind], inner);
      PutMessage(3, *inner, out);
      return;
    case core::OpKind::kAppend:
      PutUint(1, lane, out);
      PutUint(2, op.a, out);
      PutUint(3, op.b == 1 ? 0 : op.b, out);
      return;
    case core::OpKind::kSet:
      PutUint(1, lane, out);
      PutUint(2, op.a, out);
      PutUint(3, op.b, out);
      return;
    case core::OpKind::kTruncate:
      PutUint(1, lane, out);
      PutUint(2, op.a, out);
      return;
    case core::OpKind::kUnbind:
      PutUint(1, lane, out);
      return;
    case core::OpKind::kCopy:
      PutUint(1, op.a, out);
      PutUint(2, op.b, out);
      return;
  }
}

}  // namespace

absl::string_view PlanEncoder::Encode(const core::StepPlan& plan, absl::Duration timeout) {
  bytes_.clear();
  PutUint(1, plan.epoch.value(), &bytes_);
  PutUint(2, plan.step.value(), &bytes_);
  PutUint(3, plan.snapshot, &bytes_);
  PutUint(4, plan.digest, &bytes_);
  for (const core::PlanOp& op : plan.ops) {
    body_.clear();
    PutOpBody(plan, op, &inner_, &body_);
    op_.clear();
    PutMessage(OpField(op.kind), body_, &op_);
    PutMessage(5, op_, &bytes_);
  }
  for (const core::RowException& row : plan.rows) {
    body_.clear();
    PutUint(1, static_cast<uint64_t>(row.lane), &body_);
    if (row.tokens == 0) {
      PutUint(3, 1, &body_);
    } else {
      PutUint(2, row.tokens, &body_);
    }
    PutMessage(6, body_, &bytes_);
  }
  const int64_t milliseconds =
      absl::ToInt64Milliseconds(absl::Ceil(timeout, absl::Milliseconds(1)));
  PutUint(7, static_cast<uint64_t>(std::clamp<int64_t>(milliseconds, 0, UINT32_MAX)), &bytes_);
  return bytes_;
}

}  // namespace pagoda
