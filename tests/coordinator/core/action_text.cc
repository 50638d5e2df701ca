#include "tests/coordinator/core/action_text.h"

#include <cstdint>
#include <variant>

#include "absl/strings/str_cat.h"

namespace pagoda::core {
namespace {

std::string BindText(const StepPlan& plan, const PlanOp& op) {
  const PlanBind& bind = plan.binds.at(op.bind);
  std::string text = absl::StrCat("bind ", op.lane, " [");
  for (uint32_t i = 0; i < bind.tokens_count; ++i) {
    if (i == bind.prompt_tokens) absl::StrAppend(&text, " |");
    absl::StrAppend(&text, i == 0 ? "" : " ", plan.tokens.at(bind.tokens_begin + i));
  }
  return text + "]";
}

std::string OpText(const StepPlan& plan, const PlanOp& op) {
  switch (op.kind) {
    case OpKind::kBind:
      return BindText(plan, op);
    case OpKind::kAppend:
      if (op.b == 1) return absl::StrCat("append ", op.lane, " ", op.a);
      return absl::StrCat("append ", op.lane, " ", op.a, "-", op.a + op.b - 1);
    case OpKind::kUnbind:
      return absl::StrCat("unbind ", op.lane);
    case OpKind::kSet:
      return absl::StrCat("set ", op.lane, " [", op.a, "] ", op.b);
    case OpKind::kCopy:
      return absl::StrCat("copy ", op.a, " to ", op.b);
    case OpKind::kFork:
      return absl::StrCat("fork ", op.a, " to ", op.lane);
    case OpKind::kTruncate:
      return absl::StrCat("truncate ", op.lane, " to ", op.a);
  }
  return "?";
}

const char* FinishText(FinishReason reason) {
  switch (reason) {
    case FinishReason::kNone:
      return "none";
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
  }
  return "?";
}

std::string GroupText(GroupId group) {
  return group.value() == 0 ? "" : absl::StrCat("group ", group.value(), " ");
}

std::string Text(const SendPlan& send) {
  return absl::StrCat(GroupText(send.group), "plan ", PlanText(*send.plan));
}

std::string Text(const Append& append) {
  return absl::StrCat("append ",
                      append.position,
                      append.kind == Append::Kind::kAccept ? " accept " : " end ",
                      append.id.value());
}

std::string Text(const Emit& emit) {
  return absl::StrCat("emit ", emit.id.value(), " ", emit.published);
}

std::string Text(const End& end) {
  const std::string what = end.status.ok()
                               ? absl::StrCat("OK ", FinishText(end.finish))
                               : absl::StrCat(absl::StatusCodeToString(end.status.code()),
                                              " (",
                                              std::string(end.status.message()),
                                              ")");
  return absl::StrCat("end ", end.id.value(), " ", what, " ", end.completion_tokens);
}

std::string Text(const OpenEpoch& open) {
  return absl::StrCat(GroupText(open.group),
                      "open epoch ",
                      open.epoch.value(),
                      ": ",
                      open.capacity.num_blocks,
                      " blocks of ",
                      open.capacity.block_size);
}

std::string Text(const Drop& drop) {
  return absl::StrCat(GroupText(drop.group), "drop epoch ", drop.epoch.value(), ": ", drop.reason);
}

}  // namespace

std::string PlanText(const StepPlan& plan) {
  std::string text =
      absl::StrCat(plan.step.value(), plan.snapshot ? "s" : "", plan.digest ? "d" : "");
  absl::string_view separator = ": ";
  const auto add = [&](const std::string& part) {
    absl::StrAppend(&text, separator, part);
    separator = "; ";
  };
  for (const PlanOp& op : plan.ops) add(OpText(plan, op));
  for (const RowException& row : plan.rows) {
    add(row.tokens == 0 ? absl::StrCat("hold ", row.lane)
                        : absl::StrCat("chunk ", row.lane, " ", row.tokens));
  }
  return plan.ops.empty() && plan.rows.empty() ? text + ":" : text;
}

std::string ActionText(const Action& action) {
  return std::visit([](const auto& a) { return Text(a); }, action);
}

}  // namespace pagoda::core
