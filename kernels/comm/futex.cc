#include "kernels/comm/futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <climits>

namespace pagoda {

static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));

void FutexWait(const std::atomic<uint32_t>* word, uint32_t value, absl::Duration timeout) {
  const bool limited = timeout != absl::InfiniteDuration();
  const timespec limit = limited ? absl::ToTimespec(timeout) : timespec{};
  syscall(SYS_futex, word, FUTEX_WAIT, value, limited ? &limit : nullptr, nullptr, 0);
}

void FutexWakeAll(const std::atomic<uint32_t>* word) {
  syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace pagoda
