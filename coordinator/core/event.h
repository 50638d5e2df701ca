// What happens to the core. Events carry no time of their own: the core's clock is the last Tick.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/core/request/capacity.h"
#include "coordinator/core/request/ids.h"
#include "coordinator/core/request/request.h"

namespace pagoda::core {

struct Submit {
  RequestSpec spec;
};

// The client wants the request to end.
struct Cancel {
  RequestId id;
};

// The request's reader is gone. Without a resume grace (not built yet) that cancels it.
struct Detach {
  RequestId id;
};

// All ranks of a group have loaded the model and wait for an epoch.
struct GroupJoined {
  GroupId group;
  uint32_t ranks = 1;
  GroupCapacity capacity;
  Epoch last_epoch;  // the highest that its ranks have served; 0: none
};

// The group's stream is broken, or a rank failed. Stale epochs are ignored.
struct GroupLost {
  GroupId group;
  Epoch epoch;
  std::string reason;
};

struct RowFailure {
  int32_t lane = 0;
  std::string message;
};

// A rank answered a step; step 0 answers OpenEpoch. A step is done when all ranks have.
struct StepDone {
  GroupId group;
  uint32_t rank = 0;
  Epoch epoch;
  Step step;
  uint64_t table_digest = 0;  // when the plan asked for it; equal on all ranks
  // Of rank 0 alone:
  std::vector<int32_t> tokens;          // drawn tokens, by ascending lane
  std::vector<TokenLogprobs> logprobs;  // empty, or one per token
  std::vector<RowFailure> failures;
  absl::Duration busy;  // time the device worked on the step
};

// The text stage found a stop string that is complete with generated token number `tokens` (a count
// from 1).
struct StopAt {
  RequestId id;
  uint32_t tokens = 0;
};

// Every record up to and including `position` will survive a crash.
struct JournalDurable {
  uint64_t position = 0;
};

// No new requests; the ones accepted run to their end.
struct Drain {};

// Time passes. Plans are made here only, so whatever arrived together is planned together: the
// engine applies a batch of events and then one Tick.
struct Tick {
  absl::Time now;
};

using Event = std::variant<Submit,
                           Cancel,
                           Detach,
                           GroupJoined,
                           GroupLost,
                           StepDone,
                           StopAt,
                           JournalDurable,
                           Drain,
                           Tick>;

}  // namespace pagoda::core
