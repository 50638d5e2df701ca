// Time as a dependency. An absl::Time in Pagoda is a reading of RealClock() or of a test's
// SimulatedClock. Now() is safe from any thread; one thread at a time moves a SimulatedClock.
#pragma once

#include <atomic>
#include <cstdint>

#include "absl/time/time.h"

namespace pagoda {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() const = 0;
};

// Wall time when first asked, then monotonic: an adjusted system clock moves no deadline.
const Clock* RealClock();

// Stands still until told otherwise; nanosecond resolution.
class SimulatedClock : public Clock {
 public:
  explicit SimulatedClock(absl::Time start = absl::UnixEpoch()) { Set(start); }

  absl::Time Now() const override { return absl::FromUnixNanos(nanos_.load()); }

  // Any direction, for tests of clock steps.
  void Set(absl::Time t) { nanos_.store(absl::ToUnixNanos(t)); }

  // REQUIRES: t >= Now().
  void AdvanceTo(absl::Time t);

  // REQUIRES: d >= 0.
  void AdvanceBy(absl::Duration d);

 private:
  std::atomic<int64_t> nanos_;  // since the Unix epoch
};

}  // namespace pagoda
