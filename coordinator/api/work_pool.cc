#include "coordinator/api/work_pool.h"

#include <optional>
#include <utility>

namespace pagoda {

WorkPool::WorkPool(int threads, size_t capacity) : queue_(capacity) {
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this] {
      while (std::optional<std::function<void()>> work = queue_.Pop()) (*work)();
    });
  }
}

WorkPool::~WorkPool() {
  queue_.Close();
  for (std::thread& thread : threads_) thread.join();
}

bool WorkPool::TryRun(std::function<void()> work) { return queue_.TryPush(std::move(work)); }

}  // namespace pagoda
