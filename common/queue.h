// A bounded first-in first-out queue between threads. Any number of producers and consumers. After
// Close() nothing enters, and what is inside can still be taken.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "common/check.h"
#include "common/mutex.h"

namespace pagoda {

template <class T>
class BoundedQueue {
 public:
  // REQUIRES: capacity > 0.
  explicit BoundedQueue(size_t capacity) : capacity_(capacity) { CHECK_GT(capacity, 0u); }

  // False when full or closed; `value` is then untouched.
  bool TryPush(T&& value) ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(&mu_);
    if (closed_ || items_.size() >= capacity_) return false;
    Append(std::move(value));
    return true;
  }

  // Waits for room. False when closed; `value` is then untouched.
  bool Push(T&& value) ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(&mu_);
    while (!closed_ && items_.size() >= capacity_) has_room_.Wait(&mu_);
    if (closed_) return false;
    Append(std::move(value));
    return true;
  }

  // Waits for an item. Nothing when closed and empty.
  std::optional<T> Pop() ABSL_LOCKS_EXCLUDED(mu_) { return PopUntil(absl::InfiniteFuture()); }

  // Nothing when closed and empty, or when `deadline` (RealClock() time) passes first. A deadline
  // in the past takes what is there without waiting.
  std::optional<T> PopUntil(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(&mu_);
    WaitForItem(deadline);
    if (items_.empty()) return std::nullopt;
    std::optional<T> item(std::move(items_.front()));
    items_.pop_front();
    has_room_.Signal();
    return item;
  }

  // Waits like PopUntil, then appends everything inside to `out`. False only when closed and empty:
  // `while (queue.PopAll(&batch, deadline)) …` ends with the queue.
  bool PopAll(std::vector<T>* out, absl::Time deadline) ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(&mu_);
    WaitForItem(deadline);
    if (items_.empty()) return !closed_;
    for (T& item : items_) out->push_back(std::move(item));
    items_.clear();
    has_room_.SignalAll();
    return true;
  }

  // Wakes every waiter. May be called again.
  void Close() ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(&mu_);
    closed_ = true;
    has_room_.SignalAll();
    has_item_.SignalAll();
  }

  size_t size() const ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(&mu_);
    return items_.size();
  }

 private:
  void Append(T&& value) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    items_.push_back(std::move(value));
    has_item_.Signal();
  }

  void WaitForItem(absl::Time deadline) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    while (items_.empty() && !closed_) {
      if (!has_item_.WaitUntil(&mu_, deadline)) return;
    }
  }

  const size_t capacity_;
  mutable Mutex mu_;
  CondVar has_room_;
  CondVar has_item_;
  std::deque<T> items_ ABSL_GUARDED_BY(mu_);
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace pagoda
