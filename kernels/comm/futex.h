// Waiting for a word of memory that other processes change too: futex(2).
#pragma once

#include <atomic>
#include <cstdint>

#include "absl/time/time.h"

namespace pagoda {

// Sleeps while `*word` is `value`, for `timeout` at most; may return early.
void FutexWait(const std::atomic<uint32_t>* word, uint32_t value, absl::Duration timeout);

// Wakes everybody who sleeps on `word`.
void FutexWakeAll(const std::atomic<uint32_t>* word);

}  // namespace pagoda
