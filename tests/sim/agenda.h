// What the simulator still has to do, by time; things of one time happen in the order they were
// planned. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <queue>
#include <tuple>
#include <utility>

#include "absl/time/time.h"

namespace pagoda::sim {

class Agenda {
 public:
  void At(absl::Time time, std::function<void()> what) {
    later_.push({time, ++order_, std::move(what)});
  }
  bool empty() const { return later_.empty(); }
  // REQUIRES: !empty().
  absl::Time next_time() const { return later_.top().time; }
  // Removes what comes next. REQUIRES: !empty().
  std::function<void()> Take() {
    std::function<void()> what = later_.top().what;
    later_.pop();
    return what;
  }

 private:
  struct Later {
    absl::Time time;
    uint64_t order;
    std::function<void()> what;
    bool operator<(const Later& other) const {
      return std::tie(other.time, other.order) < std::tie(time, order);
    }
  };

  uint64_t order_ = 0;
  std::priority_queue<Later> later_;
};

}  // namespace pagoda::sim
