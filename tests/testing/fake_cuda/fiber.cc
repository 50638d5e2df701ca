#include "tests/testing/fake_cuda/fiber.h"

#include <sanitizer/common_interface_defs.h>
#include <sys/mman.h>

#include <boost/context/preallocated.hpp>
#include <utility>

#include "common/check.h"
#include "tests/testing/fake_cuda/sanitizer.h"

namespace pagoda::fake_cuda {
namespace {

constexpr size_t kGuard = 4096;

// The pool owns the memory.
struct NoAllocator {
  using traits_type = boost::context::stack_traits;
  boost::context::stack_context allocate() { return {}; }
  void deallocate(boost::context::stack_context&) {}
};

}  // namespace

StackPool::~StackPool() {
  for (std::byte* stack : free_) munmap(stack - kGuard, kStackBytes + kGuard);
}

std::byte* StackPool::Take() {
  if (free_.empty()) {
    void* memory = mmap(nullptr,
                        kStackBytes + kGuard,
                        PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK,
                        -1,
                        0);
    CHECK(memory != MAP_FAILED);
    CHECK_EQ(mprotect(memory, kGuard, PROT_NONE), 0);
    free_.push_back(static_cast<std::byte*>(memory) + kGuard);
  }
  std::byte* stack = free_.back();
  free_.pop_back();
  return stack;
}

void StackPool::Give(std::byte* stack) {
  Unpoison(stack, kStackBytes);
  free_.push_back(stack);
}

Fiber::Fiber(StackPool* pool, std::function<void()> body)
    : pool_(pool), body_(std::move(body)), stack_(pool->Take()) {
  boost::context::stack_context context;
  context.size = StackPool::kStackBytes;
  context.sp = stack_ + StackPool::kStackBytes;
  inside_ = boost::context::fiber(std::allocator_arg,
                                  boost::context::preallocated(context.sp, context.size, context),
                                  NoAllocator(),
                                  [this](boost::context::fiber&& outside) {
                                    outside_ = std::move(outside);
                                    Enter();
                                    return std::move(outside_);
                                  });
}

Fiber::~Fiber() {
  if (done_) pool_->Give(stack_);
}

void Fiber::Enter() {
  if constexpr (kAddressSanitizer) {
    __sanitizer_finish_switch_fiber(nullptr, &outside_stack_, &outside_bytes_);
  }
  body_();
  done_ = true;
  if constexpr (kAddressSanitizer) {
    __sanitizer_start_switch_fiber(nullptr, outside_stack_, outside_bytes_);
  }
}

void Fiber::Resume() {
  if constexpr (kAddressSanitizer) {
    __sanitizer_start_switch_fiber(&outside_shadow_, stack_, StackPool::kStackBytes);
  }
  inside_ = std::move(inside_).resume();
  if constexpr (kAddressSanitizer) {
    __sanitizer_finish_switch_fiber(outside_shadow_, nullptr, nullptr);
  }
}

void Fiber::Pause() {
  if constexpr (kAddressSanitizer) {
    __sanitizer_start_switch_fiber(&inside_shadow_, outside_stack_, outside_bytes_);
  }
  outside_ = std::move(outside_).resume();
  if constexpr (kAddressSanitizer) {
    __sanitizer_finish_switch_fiber(inside_shadow_, &outside_stack_, &outside_bytes_);
  }
}

}  // namespace pagoda::fake_cuda
