// How far streams are, for a thread that waits for them. Any thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <numeric>
#include <vector>

#include "absl/time/time.h"
#include "common/clock.h"
#include "common/mutex.h"

namespace pagoda::e2e {

class Progress {
 public:
  using Tokens = std::vector<uint64_t>;  // by stream

  explicit Progress(size_t streams) : tokens_(streams) {}

  void Add(size_t stream, uint32_t tokens) {
    MutexLock lock(&mutex_);
    tokens_[stream] += tokens;
    changed_.SignalAll();
  }

  Tokens tokens() {
    MutexLock lock(&mutex_);
    return tokens_;
  }

  // Waits until every stream has a token and all together have `tokens`; answers how many there
  // are.
  uint64_t WaitForAll(uint64_t tokens) {
    const auto sum = [](const Tokens& of) {
      return std::accumulate(of.begin(), of.end(), uint64_t{});
    };
    Wait(absl::InfiniteFuture(), [&](const Tokens& t) {
      return *std::min_element(t.begin(), t.end()) > 0 && sum(t) >= tokens;
    });
    return sum(this->tokens());
  }

  // Waits until every stream has more than it had at `before`; false when that takes too long.
  bool WaitForEach(const Tokens& before, absl::Duration patience) {
    return Wait(RealClock()->Now() + patience, [&before](const Tokens& t) {
      return std::equal(t.begin(), t.end(), before.begin(), std::greater<>());
    });
  }

 private:
  bool Wait(absl::Time deadline, const std::function<bool(const Tokens&)>& condition) {
    MutexLock lock(&mutex_);
    while (!condition(tokens_)) {
      if (!changed_.WaitUntil(&mutex_, deadline)) return false;
    }
    return true;
  }

  Mutex mutex_;
  CondVar changed_;
  Tokens tokens_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace pagoda::e2e
