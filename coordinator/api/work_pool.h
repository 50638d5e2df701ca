// A few threads for work that takes longer than a call may hold a gRPC thread: tokenising prompts.
#pragma once

#include <functional>
#include <thread>
#include <vector>

#include "common/queue.h"

namespace pagoda {

class WorkPool {
 public:
  // REQUIRES: threads >= 1, capacity >= 1.
  WorkPool(int threads, size_t capacity);
  // Finishes what was taken on.
  ~WorkPool();

  // Any thread. False when `capacity` pieces of work are waiting: overload.
  bool TryRun(std::function<void()> work);

 private:
  BoundedQueue<std::function<void()>> queue_;
  std::vector<std::thread> threads_;
};

}  // namespace pagoda
