// The plan of one step, as the core decides it; the transport encodes it as proto Plan
// (worker.proto), whose comments are the contract of every op and row.
//
// A plan's storage is reused: a StepPlan handed out by the core is valid until the next
// Core::Apply.
#pragma once

#include <cstdint>
#include <vector>

#include "coordinator/core/request/ids.h"
#include "coordinator/core/request/request.h"

namespace pagoda::core {

enum class OpKind : uint8_t { kBind, kFork, kAppend, kSet, kTruncate, kUnbind, kCopy };

// One op. Which fields mean something depends on the kind:
//   kBind     lane, bind (index into StepPlan::binds)
//   kFork     lane, a = source lane
//   kAppend   lane, a = first block, b = count
//   kSet      lane, a = index in the table, b = block
//   kTruncate lane, a = tokens
//   kUnbind   lane
//   kCopy     a = source block, b = destination block
struct PlanOp {
  OpKind kind;
  int32_t lane = -1;
  uint32_t a = 0;
  uint32_t b = 0;
  uint32_t bind = 0;
};

// A sequence put on a lane.
struct PlanBind {
  uint32_t tokens_begin = 0;  // range of StepPlan::tokens: prompt, then generated tokens
  uint32_t tokens_count = 0;
  uint32_t prompt_tokens = 0;
  uint32_t sequence_index = 0;
  SamplingParams sampling;
};

// A lane that does not simply advance by one token.
struct RowException {
  int32_t lane = 0;
  uint32_t tokens = 0;  // chunk of this many; 0: hold
};

struct StepPlan {
  Epoch epoch;
  Step step;
  bool snapshot = false;
  bool digest = false;
  std::vector<PlanOp> ops;  // in order
  std::vector<PlanBind> binds;
  std::vector<int32_t> tokens;
  std::vector<RowException> rows;  // ascending lanes

  void Clear() {
    snapshot = digest = false;
    ops.clear();
    binds.clear();
    tokens.clear();
    rows.clear();
  }
};

}  // namespace pagoda::core
