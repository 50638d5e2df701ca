// The coordinator's core: one pure state machine, Apply(Event) -> Actions.
//
// Everything that decides is inside: admission, scheduling, blocks, epochs, deadlines, recovery,
// journal order, drain. No I/O, clock, thread or log. Same events, same actions, bit for bit:
// production, golden traces, property tests and the simulator run this same object.
//
// Thread-compatible: one thread (the engine's) calls it.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/time/time.h"
#include "coordinator/core/action.h"
#include "coordinator/core/event.h"

namespace pagoda::core {

struct CoreOptions {
  uint32_t depth = 2;  // plans that may be unanswered; 1 without asynchronous scheduling
  absl::Duration step_timeout = absl::Seconds(10);  // floor of a step's deadline
  absl::Duration open_timeout = absl::Seconds(60);  // of an epoch's opening
  // Of steps before the first answer has told how fast the group is.
  absl::Duration uncalibrated_timeout = absl::Minutes(10);
  uint32_t max_queued_requests = 4096;  // accepted and not running; more are refused
  uint32_t digest_interval = 256;       // steps between table digests
};

// Numbers of this moment.
struct CoreStats {
  uint32_t running = 0;
  uint32_t waiting = 0;
  uint32_t total_blocks = 0;
  uint32_t free_blocks = 0;
  uint64_t steps = 0;             // answered
  uint64_t processed_tokens = 0;  // by answered steps: prefill, decode, recomputation
  uint64_t generated_tokens = 0;
  uint64_t preemptions = 0;
  uint64_t epochs = 0;  // opened
  uint64_t finished_requests = 0;
  bool ready = false;  // a group is open
  bool draining = false;
};

class Core {
 public:
  explicit Core(const CoreOptions& options);
  ~Core();
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  // Appends the actions that follow from `event` to `actions`. Plans in them are valid until the
  // next call.
  void Apply(Event event, Actions* actions);

  CoreStats stats() const;
  // No request is accepted and unfinished.
  bool idle() const;
  // When time alone will change something (a deadline); InfiniteFuture if nothing waits for time.
  absl::Time NextDeadline() const;

  // Full audit; CHECK-fails on a broken invariant. Runs after every event in PAGODA_INVARIANTS
  // builds.
  void CheckInvariants() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pagoda::core
