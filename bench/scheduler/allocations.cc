#include "bench/scheduler/allocations.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace pagoda::bench {
namespace {

std::atomic<uint64_t> all{0};
std::atomic<uint64_t> marked{0};
std::atomic<size_t> marked_size{0};
std::atomic<size_t> last_size{0};

void* Allocate(size_t bytes, size_t alignment) {
  all.fetch_add(1, std::memory_order_relaxed);
  if (bytes == marked_size.load(std::memory_order_relaxed)) {
    marked.fetch_add(1, std::memory_order_relaxed);
  }
  last_size.store(bytes, std::memory_order_relaxed);
  void* const memory = std::aligned_alloc(alignment, (bytes + alignment) / alignment * alignment);
  if (memory == nullptr) std::abort();
  return memory;
}

}  // namespace

Allocations CountAllocations() {
  return {all.load(std::memory_order_relaxed), marked.load(std::memory_order_relaxed)};
}

void MarkSize(size_t bytes) { marked_size.store(bytes, std::memory_order_relaxed); }

size_t LastSize() { return last_size.load(std::memory_order_relaxed); }

}  // namespace pagoda::bench

// The array forms and the nothrow forms of the standard library come back to these.
void* operator new(size_t bytes) {
  return pagoda::bench::Allocate(bytes, __STDCPP_DEFAULT_NEW_ALIGNMENT__);
}
void* operator new(size_t bytes, std::align_val_t alignment) {
  return pagoda::bench::Allocate(bytes, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
