// The life of a group, seen from the core: which epoch it is in, which steps are unanswered, until
// when.
//
//   absent --Joined--> opening --answers to step 0--> open
//     ^                  |                            |
//     +------------------+---- Lost / deadline -------+
//
// Every rank answers every step, in order; a step is complete when all have, and until then the
// group has not answered it. Epoch numbers only rise. Pure; time comes in as an argument.
#pragma once

#include <cstdint>
#include <optional>
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

  static constexpr uint32_t kMaxRanks = 32;

  // A new epoch, above every earlier one and above `last` (what the workers served before this
  // coordinator); its opening counts as step 0. REQUIRES: state() == kAbsent, 1 <= ranks <=
  // kMaxRanks.
  void Begin(Epoch last, uint32_t ranks, absl::Duration allowance);
  // A step was sent. REQUIRES: state() == kOpen.
  void Sent(Step step, absl::Time now, absl::Duration allowance);
  // A rank answered `step`, with `digest` of its tables. An answer out of order, by a rank that is
  // not there, or with another digest than that of the ranks before it is an error of the group:
  // FAILED_PRECONDITION, DATA_LOSS.
  absl::Status Answered(uint32_t rank, Step step, uint64_t digest);
  // Takes the oldest step off the books if all ranks have answered it.
  std::optional<Step> TakeComplete();
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
    uint32_t missing = 0;  // ranks that have not answered, a bit each
    uint64_t digest = 0;   // of those that have
  };

  void Add(Step step, absl::Duration allowance);

  State state_ = State::kAbsent;
  Epoch epoch_;
  uint32_t all_ = 0;                    // ranks, a bit each
  std::vector<Unanswered> unanswered_;  // oldest first; as many as the depth at most
  absl::Time deadline_ = absl::InfiniteFuture();
  bool begins_ = false;  // the oldest step's time begins with the next Tick
};

}  // namespace pagoda::core
