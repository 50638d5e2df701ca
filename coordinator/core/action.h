// What the core wants done. Actions are performed in order.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/core/event.h"
#include "coordinator/core/request/ids.h"
#include "coordinator/core/request/request.h"
#include "coordinator/core/scheduler/plan.h"

namespace pagoda::core {

// Send the plan to every rank of the group. `plan` is valid until the next Apply.
struct SendPlan {
  GroupId group;
  const StepPlan* plan = nullptr;
  absl::Duration timeout;  // how long its ranks may wait for each other
};

// Write a record to the journal; its durability comes back as JournalDurable{position}.
struct Append {
  enum class Kind { kAccept, kEnd };
  uint64_t position = 0;  // 1, 2, 3, ...
  Kind kind = Kind::kAccept;
  RequestId id;
};

// Readers of the request may see its first `published` tokens (already published in its TokenLog).
// The first Emit of a request, with 0, acknowledges it.
struct Emit {
  RequestId id;
  uint32_t published = 0;
};

// The request is over; its last message. Nothing about it follows.
struct End {
  RequestId id;
  absl::Status status;  // OK: see `finish`
  FinishReason finish = FinishReason::kNone;
  uint32_t completion_tokens = 0;
};

// Configure every rank for this epoch and open its stream. Answered by StepDone{step 0} or
// GroupLost.
struct OpenEpoch {
  GroupId group;
  Epoch epoch;
  GroupCapacity capacity;
};

// The epoch is over by the core's decision: close its stream; kill a worker that may hang. The
// group comes back with GroupJoined.
struct Drop {
  GroupId group;
  Epoch epoch;
  std::string reason;
};

using Action = std::variant<SendPlan, Append, Emit, End, OpenEpoch, Drop>;
using Actions = std::vector<Action>;

}  // namespace pagoda::core
