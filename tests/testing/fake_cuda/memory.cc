#include "tests/testing/fake_cuda/memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>

#include "common/check.h"
#include "common/mutex.h"
#include "tests/testing/fake_cuda/sanitizer.h"

namespace pagoda::fake_cuda {
namespace {

constexpr size_t kPage = 4096;
// Addresses are not used twice: a stale pointer traps for as long as the process runs.
constexpr size_t kReserved = size_t{1} << 40;

size_t RoundUp(size_t n, size_t to) { return (n + to - 1) / to * to; }

struct Allocation {
  size_t bytes;  // asked for
  std::byte* pages;
  size_t page_bytes;
};

class Arena {
 public:
  Arena()
      : begin_(static_cast<std::byte*>(mmap(nullptr,
                                            kReserved,
                                            PROT_NONE,
                                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                                            -1,
                                            0))) {
    CHECK(begin_ != MAP_FAILED);
    next_ = begin_ + kPage;
  }

  void* Allocate(size_t bytes) {
    MutexLock lock(&mutex_);
    if (bytes == 0 || bytes > total_ - used_) return nullptr;
    const size_t aligned = RoundUp(bytes, kDeviceAlignment);
    const size_t page_bytes = RoundUp(aligned, kPage);
    CHECK_LE(page_bytes + kPage, static_cast<size_t>(begin_ + kReserved - next_));
    std::byte* const pages = next_;
    next_ += page_bytes + kPage;
    CHECK_EQ(mprotect(pages, page_bytes, PROT_READ | PROT_WRITE), 0);
    std::byte* const p = pages + page_bytes - aligned;
    std::memset(p, 0xff, bytes);
    Poison(p + bytes, aligned - bytes);
    if (!open_) CHECK_EQ(mprotect(pages, page_bytes, PROT_NONE), 0);
    live_[p] = {bytes, pages, page_bytes};
    used_ += bytes;
    return p;
  }

  bool Free(void* p) {
    MutexLock lock(&mutex_);
    const auto found = live_.find(static_cast<std::byte*>(p));
    if (found == live_.end()) return false;
    const Allocation& freed = found->second;
    CHECK_EQ(mprotect(freed.pages, freed.page_bytes, PROT_NONE), 0);
    CHECK_EQ(madvise(freed.pages, freed.page_bytes, MADV_DONTNEED), 0);
    Unpoison(freed.pages, freed.page_bytes);
    used_ -= freed.bytes;
    live_.erase(found);
    return true;
  }

  bool Holds(const void* p, size_t bytes) {
    MutexLock lock(&mutex_);
    auto after = live_.upper_bound(static_cast<std::byte*>(const_cast<void*>(p)));
    if (after == live_.begin()) return false;
    const auto& [start, allocation] = *--after;
    return static_cast<const std::byte*>(p) + bytes <= start + allocation.bytes;
  }

  bool InRange(const void* p) {
    MutexLock lock(&mutex_);
    return p >= begin_ && p < next_;
  }

  void Open(bool open) {
    MutexLock lock(&mutex_);
    CHECK(open_ != open);
    open_ = open;
    for (const auto& [start, allocation] : live_) {
      CHECK_EQ(mprotect(allocation.pages,
                        allocation.page_bytes,
                        open ? PROT_READ | PROT_WRITE : PROT_NONE),
               0);
    }
  }

  size_t total() {
    MutexLock lock(&mutex_);
    return total_;
  }
  void set_total(size_t bytes) {
    MutexLock lock(&mutex_);
    total_ = bytes;
  }
  size_t used() {
    MutexLock lock(&mutex_);
    return used_;
  }

 private:
  std::byte* const begin_;
  Mutex mutex_;
  std::byte* next_ ABSL_GUARDED_BY(mutex_);
  std::map<std::byte*, Allocation> live_ ABSL_GUARDED_BY(mutex_);
  size_t total_ ABSL_GUARDED_BY(mutex_) = size_t{4} << 30;
  size_t used_ ABSL_GUARDED_BY(mutex_) = 0;
  bool open_ ABSL_GUARDED_BY(mutex_) = false;
};

Arena& TheArena() {
  static Arena* const arena = new Arena;
  return *arena;
}

struct HostDelete {
  void operator()(std::byte* p) const { ::operator delete(p, std::align_val_t{kPage}); }
};

struct HostMemory {
  Mutex mutex;
  std::map<void*, std::unique_ptr<std::byte, HostDelete>> live ABSL_GUARDED_BY(mutex);
};

HostMemory& TheHostMemory() {
  static HostMemory* const memory = new HostMemory;
  return *memory;
}

}  // namespace

void* AllocateDevice(size_t bytes) { return TheArena().Allocate(bytes); }
bool FreeDevice(void* p) { return TheArena().Free(p); }
bool InDeviceMemory(const void* p, size_t bytes) { return TheArena().Holds(p, bytes); }
bool IsDeviceAddress(const void* p) { return TheArena().InRange(p); }
size_t DeviceMemoryTotal() { return TheArena().total(); }
size_t DeviceMemoryUsed() { return TheArena().used(); }
void SetDeviceMemoryTotal(size_t bytes) { TheArena().set_total(bytes); }

void* AllocateHost(size_t bytes) {
  if (bytes == 0) return nullptr;
  HostMemory& memory = TheHostMemory();
  std::unique_ptr<std::byte, HostDelete> made(
      static_cast<std::byte*>(::operator new(bytes, std::align_val_t{kPage})));
  std::memset(made.get(), 0xff, bytes);
  MutexLock lock(&memory.mutex);
  void* const p = made.get();
  memory.live[p] = std::move(made);
  return p;
}

bool FreeHost(void* p) {
  HostMemory& memory = TheHostMemory();
  MutexLock lock(&memory.mutex);
  return memory.live.erase(p) > 0;
}

DeviceAccess::DeviceAccess() { TheArena().Open(true); }
DeviceAccess::~DeviceAccess() { TheArena().Open(false); }

}  // namespace pagoda::fake_cuda
