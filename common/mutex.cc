#include "common/mutex.h"

#include <chrono>

#include "common/clock.h"

namespace pagoda {

void CondVar::Wait(Mutex* mu) {
  std::unique_lock<std::mutex> lock(mu->mu_, std::adopt_lock);
  cv_.wait(lock);
  lock.release();  // the caller's lock goes on
}

bool CondVar::WaitUntil(Mutex* mu, absl::Time deadline) {
  return WaitFor(mu, deadline - RealClock()->Now());
}

bool CondVar::WaitFor(Mutex* mu, absl::Duration timeout) {
  // Beyond this the arithmetic of std::chrono could overflow.
  if (timeout > absl::Hours(24 * 365)) {
    Wait(mu);
    return true;
  }
  // A negative timespec is an error to the C library, not a time in the past.
  if (timeout <= absl::ZeroDuration()) return false;
  std::unique_lock<std::mutex> lock(mu->mu_, std::adopt_lock);
  const std::cv_status status = cv_.wait_for(lock, absl::ToChronoNanoseconds(timeout));
  lock.release();
  return status == std::cv_status::no_timeout;
}

}  // namespace pagoda
