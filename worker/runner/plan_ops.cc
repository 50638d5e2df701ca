#include "worker/runner/plan_ops.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/unknown_field_set.h>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "worker/runner/sampling_from_proto.h"

namespace pagoda {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

uint32_t CountOr1(uint32_t count) { return count == 0 ? 1 : count; }

absl::Status CheckGroup(uint32_t kv_group) {
  if (kv_group == 0) return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat("kv_group ", kv_group, ": there is one KV group"));
}

const char* OpName(const v1::Op& op) {
  const FieldDescriptor* field =
      v1::Op::descriptor()->FindFieldByNumber(static_cast<int>(op.op_case()));
  return field == nullptr ? "unknown" : field->name().c_str();
}

absl::Status CheckUnknown(const Message& message) {
  const google::protobuf::UnknownFieldSet& unknown =
      message.GetReflection()->GetUnknownFields(message);
  if (unknown.empty()) return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat("field ",
                                               unknown.field(0).number(),
                                               " of ",
                                               message.GetDescriptor()->name(),
                                               " is unknown to this worker"));
}

// REQUIRES: an op that is known.
const Message& Inner(const v1::Op& op) {
  const FieldDescriptor* field =
      v1::Op::descriptor()->FindFieldByNumber(static_cast<int>(op.op_case()));
  return op.GetReflection()->GetMessage(op, field);
}

}  // namespace

absl::Status CheckNoUnknownFields(const v1::Plan& plan) {
  RETURN_IF_ERROR(CheckUnknown(plan));
  for (const v1::Op& op : plan.ops()) {
    RETURN_IF_ERROR(CheckUnknown(op));
    if (op.op_case() == v1::Op::OP_NOT_SET) continue;
    RETURN_IF_ERROR(CheckUnknown(Inner(op)));
    if (op.has_bind()) RETURN_IF_ERROR(CheckUnknown(op.bind().sampling()));
    if (op.has_fork()) RETURN_IF_ERROR(CheckUnknown(op.fork().sampling()));
  }
  for (const v1::RowException& row : plan.rows()) RETURN_IF_ERROR(CheckUnknown(row));
  return absl::OkStatus();
}

absl::Status PlanOps::Apply(const v1::Plan& plan) {
  for (int i = 0; i < plan.ops_size(); ++i) {
    const absl::Status status = ApplyOne(plan.ops(i));
    if (status.ok()) continue;
    return absl::Status(status.code(),
                        absl::StrCat("op ", i, " (", OpName(plan.ops(i)), "): ", status.message()));
  }
  return absl::OkStatus();
}

absl::Status PlanOps::ApplyOne(const v1::Op& op) {
  switch (op.op_case()) {
    case v1::Op::kBind:
      return Bind(op.bind());
    case v1::Op::kFork:
      return Fork(op.fork());
    case v1::Op::kAppend:
      RETURN_IF_ERROR(CheckGroup(op.append().kv_group()));
      return lanes_.Append(op.append().lane(), op.append().first(), CountOr1(op.append().count()));
    case v1::Op::kSet:
      RETURN_IF_ERROR(CheckGroup(op.set().kv_group()));
      return lanes_.Set(op.set().lane(), op.set().index(), op.set().block());
    case v1::Op::kTruncate:
      return Truncate(op.truncate());
    case v1::Op::kUnbind:
      return lanes_.Unbind(op.unbind().lane());
    case v1::Op::kCopy:
      return Copy(op.copy());
    case v1::Op::kMove:
      return Copy(op.move());
    case v1::Op::kZero:
      return Zero(op.zero());
    case v1::Op::kTransfer:
      return absl::UnimplementedError("transfers are not built yet");
    case v1::Op::OP_NOT_SET:
      break;
  }
  return absl::UnimplementedError("an op that this worker does not know");
}

absl::Status PlanOps::Bind(const v1::Bind& bind) {
  ASSIGN_OR_RETURN(const LaneSampling sampling,
                   SamplingFromProto(bind.sampling(), lanes_.limits().vocab_size));
  RETURN_IF_ERROR(
      lanes_.Bind(bind.lane(), bind.tokens(), bind.prompt_tokens(), bind.length(), sampling));
  const int32_t lane = static_cast<int32_t>(bind.lane());
  backend_.SetLaneToken(lane, lanes_.lane(lane).history.back());
  return absl::OkStatus();
}

absl::Status PlanOps::Fork(const v1::Fork& fork) {
  ASSIGN_OR_RETURN(const LaneSampling sampling,
                   SamplingFromProto(fork.sampling(), lanes_.limits().vocab_size));
  RETURN_IF_ERROR(lanes_.Fork(fork.source(), fork.lane(), sampling));
  backend_.CopyLaneToken(static_cast<int32_t>(fork.source()), static_cast<int32_t>(fork.lane()));
  return absl::OkStatus();
}

absl::Status PlanOps::Truncate(const v1::Truncate& truncate) {
  RETURN_IF_ERROR(lanes_.Truncate(truncate.lane(), truncate.tokens()));
  const int32_t lane = static_cast<int32_t>(truncate.lane());
  const Lane& cut = lanes_.lane(lane);
  if (!cut.history.empty()) backend_.SetLaneToken(lane, cut.history.back());
  return absl::OkStatus();
}

absl::Status PlanOps::Copy(const v1::BlockPair& pair) {
  RETURN_IF_ERROR(CheckGroup(pair.kv_group()));
  RETURN_IF_ERROR(lanes_.CheckBlock(pair.src()));
  RETURN_IF_ERROR(lanes_.CheckBlock(pair.dst()));
  if (pair.src() == pair.dst()) {
    return absl::InvalidArgumentError(absl::StrCat("block ", pair.src(), " onto itself"));
  }
  const BlockCopy copy = {.source = static_cast<int32_t>(pair.src()),
                          .destination = static_cast<int32_t>(pair.dst())};
  backend_.CopyBlocks(pool_, {&copy, 1});
  return absl::OkStatus();
}

absl::Status PlanOps::Zero(const v1::BlockRun& run) {
  RETURN_IF_ERROR(CheckGroup(run.kv_group()));
  RETURN_IF_ERROR(lanes_.CheckBlock(run.first()));
  const uint32_t count = CountOr1(run.count());
  const uint32_t last = run.first() + count - 1;
  if (last < run.first()) {
    return absl::InvalidArgumentError(absl::StrCat(count, " blocks from ", run.first()));
  }
  RETURN_IF_ERROR(lanes_.CheckBlock(last));
  zeroed_.clear();
  for (uint32_t block = run.first(); block <= last; ++block) {
    zeroed_.push_back(static_cast<int32_t>(block));
  }
  backend_.ZeroBlocks(pool_, zeroed_);
  return absl::OkStatus();
}

}  // namespace pagoda
