// The life of a group, seen from the core: which epoch it is in, which steps are unanswered, until
// when.
//
//   absent --Joined--> opening --answer to step 0--> open
//     ^                  |                            |
//     +------------------+---- Lost / deadline -------+
//
// Epoch numbers only rise. Pure; time comes in as an argument.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/core/request/ids.h"

namespace pagoda::core {

class GroupEpoch {
 public:
  enum class State { kAbsent, kOpening, kOpen };

  State state() const { return state_; }
  Epoch epoch() const { return epoch_; }

  // A new epoch, above every earlier one and above `last` (what the workers served before this
  // coordinator); its opening counts as step 0. REQUIRES: state() == kAbsent.
  void Begin(Epoch last, absl::Duration allowance);
  // A step was sent. REQUIRES: state() == kOpen.
  void Sent(Step step, absl::Time now, absl::Duration allowance);
  // The group answered `step`. An answer out of order is an error of the group:
  // FAILED_PRECONDITION.
  absl::Status Answered(Step step);
  // The epoch is over.
  void Finish();

  // The time of a step that became the oldest since the last Tick begins now: events carry no time
  // of their own, and the last Tick may be long ago when they are applied.
  void Tick(absl::Time now);

  // When the oldest unanswered step is late; InfiniteFuture if nothing is unanswered, or if its
  // time begins with the next Tick.
  absl::Time deadline() const { return deadline_; }

 private:
  struct Unanswered {
    Step step;
    absl::Duration allowance;
  };

  State state_ = State::kAbsent;
  Epoch epoch_;
  std::vector<Unanswered> unanswered_;  // oldest first; as many as the depth at most
  absl::Time deadline_ = absl::InfiniteFuture();
  bool begins_ = false;  // the oldest step's time begins with the next Tick
};

}  // namespace pagoda::core
