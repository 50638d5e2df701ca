// A fiber: a function with a stack of its own that runs until it pauses, over Boost.Context.
// AddressSanitizer is told of every switch. Fibers of one thread only.
#pragma once

#include <boost/context/fiber.hpp>
#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

namespace pagoda::fake_cuda {

// Stacks that fibers take and give back: mapping one costs more than running a short kernel.
class StackPool {
 public:
  static constexpr size_t kStackBytes = size_t{128} << 10;

  StackPool() = default;
  ~StackPool();
  StackPool(const StackPool&) = delete;
  StackPool& operator=(const StackPool&) = delete;

  // The lowest byte of a stack with an unreadable page below it.
  std::byte* Take();
  void Give(std::byte* stack);

 private:
  std::vector<std::byte*> free_;
};

class Fiber {
 public:
  // `body` starts with the first Resume. `pool` outlives the fiber.
  Fiber(StackPool* pool, std::function<void()> body);
  // REQUIRES: done(), or the process is about to end.
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Runs the body until it pauses or ends.
  void Resume();
  // Of the running body: back to Resume's caller.
  void Pause();
  bool done() const { return done_; }

 private:
  void Enter();

  StackPool* const pool_;
  const std::function<void()> body_;
  std::byte* const stack_;
  boost::context::fiber inside_;   // the body, while it is paused
  boost::context::fiber outside_;  // Resume's caller, while the body runs
  bool done_ = false;
  // What AddressSanitizer keeps of a stack that is left, and where Resume's caller has its own.
  void* inside_shadow_ = nullptr;
  void* outside_shadow_ = nullptr;
  const void* outside_stack_ = nullptr;
  size_t outside_bytes_ = 0;
};

}  // namespace pagoda::fake_cuda
