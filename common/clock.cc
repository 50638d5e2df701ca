#include "common/clock.h"

#include <chrono>

#include "absl/time/clock.h"
#include "common/check.h"

namespace pagoda {
namespace {

class SteadyWallClock : public Clock {
 public:
  absl::Time Now() const override {
    return wall_ + absl::FromChrono(std::chrono::steady_clock::now() - steady_);
  }

 private:
  const absl::Time wall_ = absl::Now();
  const std::chrono::steady_clock::time_point steady_ = std::chrono::steady_clock::now();
};

}  // namespace

const Clock* RealClock() {
  static const Clock* const clock = new SteadyWallClock;
  return clock;
}

void SimulatedClock::AdvanceTo(absl::Time t) {
  CHECK_GE(t, Now()) << "a simulated clock advances only";
  Set(t);
}

void SimulatedClock::AdvanceBy(absl::Duration d) { AdvanceTo(Now() + d); }

}  // namespace pagoda
