#include "tests/testing/fake_cuda/grid.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "tests/testing/fake_cuda/memory.h"

namespace pagoda::fake_cuda {
namespace {

constexpr int kNaNByte = 0xff;
constexpr size_t kCopyBytes = 16;
constexpr std::align_val_t kSharedAlignment{128};
// A compare-and-swap that fails takes the value it saw for its next try, and so does not fail twice
// on the same one.
constexpr int kSpinLimit = 8;
// One in so many: a warp that stopped, at an atomic or fence or elsewhere, gets another priority; a
// copy lands.
constexpr uint64_t kReprioritiseAtAtomic = 2;
constexpr uint64_t kReprioritise = 16;
constexpr uint64_t kLand = 8;

std::string At(const Site& site) {
  const char* name = std::strrchr(site.file_name(), '/');
  return absl::StrCat(name == nullptr ? site.file_name() : name + 1, ":", site.line());
}

bool SameSite(const Site& a, const Site& b) {
  return a.line() == b.line() && a.column() == b.column() &&
         std::strcmp(a.file_name(), b.file_name()) == 0;
}

std::string Triple(uint3 v) { return absl::StrCat("(", v.x, ", ", v.y, ", ", v.z, ")"); }

uint3 Unflatten(uint64_t i, dim3 shape) {
  return {static_cast<unsigned>(i % shape.x),
          static_cast<unsigned>(i / shape.x % shape.y),
          static_cast<unsigned>(i / shape.x / shape.y)};
}

uint64_t Count(dim3 shape) { return uint64_t{shape.x} * shape.y * shape.z; }

void Land(const PendingCopy& copy) {
  std::memset(copy.destination, 0, kCopyBytes);
  std::memcpy(copy.destination, copy.source, copy.bytes);
}

void Pause(ThreadState state) {
  Thread* const self = current;
  self->state = state;
  self->fiber->Pause();
}

}  // namespace

void KernelError(const Thread& thread, const std::string& message) {
  const std::string line = absl::StrCat("fake cuda: kernel ",
                                        thread.cta->shape().name,
                                        ", CTA ",
                                        Triple(thread.cta->index()),
                                        ", thread ",
                                        Triple(thread.index),
                                        ": ",
                                        message,
                                        "\n");
  std::fputs(line.c_str(), stderr);
  std::abort();
}

void SharedDelete::operator()(std::byte* p) const { ::operator delete(p, kSharedAlignment); }

Cta::Cta(const LaunchShape& shape,
         uint3 index,
         StackPool* stacks,
         const std::function<void()>& body)
    : shape_(shape),
      index_(index),
      shared_(static_cast<std::byte*>(::operator new(shape.shared_bytes, kSharedAlignment))),
      threads_(Count(shape.cta)),
      warps_(threads_.size() / kWarp) {
  std::memset(shared_.get(), kNaNByte, shape.shared_bytes);
  for (size_t i = 0; i < threads_.size(); ++i) {
    Thread& thread = threads_[i];
    thread.cta = this;
    thread.index = Unflatten(i, shape.cta);
    thread.warp = static_cast<unsigned>(i / kWarp);
    thread.lane = static_cast<unsigned>(i % kWarp);
    thread.fiber = std::make_unique<Fiber>(stacks, body);
  }
}

bool Cta::InShared(const void* p, size_t bytes) const {
  const auto* begin = static_cast<const std::byte*>(p);
  return begin >= shared_.get() && begin + bytes <= shared_.get() + shape_.shared_bytes;
}

void Cta::RunWarp(unsigned warp, Random* random) {
  std::vector<unsigned> lanes(kWarp);
  for (unsigned lane = 0; lane < kWarp; ++lane) lanes[lane] = lane;
  random->Shuffle(&lanes);
  for (const unsigned lane : lanes) {
    Thread& thread = threads_[size_t{warp} * kWarp + lane];
    if (thread.state == ThreadState::kReady) Resume(&thread, random);
  }
  const bool at_atomic = warps_[warp].ready > 0;  // nothing else stops a lane that can go on
  ReleaseCollectives(warp);
  ReleaseBarrier();
  if (random->OneIn(at_atomic ? kReprioritiseAtAtomic : kReprioritise)) {
    warps_[warp].priority = random->Next();
  }
}

void Cta::Resume(Thread* thread, Random* random) {
  std::vector<PendingCopy>& copies = thread->copies;
  if (!copies.empty() && random->OneIn(kLand)) {
    const auto landed = copies.begin() + static_cast<ptrdiff_t>(random->Below(copies.size()));
    Land(*landed);
    copies.erase(landed);
  }
  current = thread;
  thread->fiber->Resume();
  current = nullptr;
  if (!thread->fiber->done()) {
    if (thread->state != ThreadState::kReady) --warps_[thread->warp].ready;
    return;
  }
  if (!copies.empty()) KernelError(*thread, "ends with asynchronous copies in flight");
  thread->state = ThreadState::kDone;
  thread->fiber.reset();
  --warps_[thread->warp].ready;
  ++done_;
}

void Cta::ReleaseCollectives(unsigned warp) {
  Thread* const lanes = &threads_[size_t{warp} * kWarp];
  for (unsigned leader = 0; leader < kWarp; ++leader) {
    const Thread& first = lanes[leader];
    if (first.state != ThreadState::kCollective) continue;
    bool all = true;
    for (unsigned lane = 0; lane < kWarp && all; ++lane) {
      if ((first.mask >> lane & 1) == 0) continue;
      const Thread& other = lanes[lane];
      if (other.state == ThreadState::kDone) {
        KernelError(first,
                    absl::StrCat("waits at ", At(first.site), " for lane ", lane, ", which ended"));
      }
      all = other.state == ThreadState::kCollective && other.mask == first.mask &&
            SameSite(other.site, first.site);
    }
    if (!all) continue;
    for (unsigned lane = 0; lane < kWarp; ++lane) {
      if ((first.mask >> lane & 1) == 0) continue;
      warps_[warp].words[lane] = lanes[lane].words;
      lanes[lane].state = ThreadState::kReady;
      ++warps_[warp].ready;
    }
  }
}

void Cta::ReleaseBarrier() {
  const Thread* first = nullptr;
  for (const Thread& thread : threads_) {
    if (thread.state == ThreadState::kReady || thread.state == ThreadState::kCollective) return;
    if (thread.state == ThreadState::kBarrier && first == nullptr) first = &thread;
  }
  if (first == nullptr) return;
  for (const Thread& thread : threads_) {
    if (thread.state == ThreadState::kDone) {
      KernelError(*first,
                  absl::StrCat("barrier divergence: waits at ",
                               At(first->site),
                               ", thread ",
                               Triple(thread.index),
                               " has ended"));
    }
    if (!SameSite(thread.site, first->site)) {
      KernelError(*first,
                  absl::StrCat("barrier divergence: waits at ",
                               At(first->site),
                               ", thread ",
                               Triple(thread.index),
                               " at ",
                               At(thread.site)));
    }
  }
  for (Thread& thread : threads_) thread.state = ThreadState::kReady;
  for (Warp& warp : warps_) warp.ready = kWarp;
}

void Cta::Deadlock() {
  for (const Thread& thread : threads_) {
    if (thread.state != ThreadState::kCollective) continue;
    const Thread* const lanes = &threads_[size_t{thread.warp} * kWarp];
    for (unsigned lane = 0; lane < kWarp; ++lane) {
      const Thread& other = lanes[lane];
      if ((thread.mask >> lane & 1) == 0) continue;
      if (other.state == ThreadState::kCollective && other.mask == thread.mask &&
          SameSite(other.site, thread.site)) {
        continue;
      }
      const std::string where =
          other.state == ThreadState::kBarrier
              ? absl::StrCat("at the barrier ", At(other.site))
              : absl::StrCat("at ", At(other.site), " with mask ", absl::Hex(other.mask));
      KernelError(thread,
                  absl::StrCat("waits at ",
                               At(thread.site),
                               " with mask ",
                               absl::Hex(thread.mask),
                               " for lane ",
                               lane,
                               ", which waits ",
                               where));
    }
  }
  CHECK(false) << "a CTA stands still for no reason";
  std::abort();
}

void RunGrid(const LaunchShape& shape, const std::function<void()>& body, Random* random) {
  static StackPool* const stacks = new StackPool;  // kept for the next launch
  std::vector<uint64_t> waiting(Count(shape.grid));
  for (size_t i = 0; i < waiting.size(); ++i) waiting[i] = i;
  random->Shuffle(&waiting);
  const uint64_t most = kMinResident + random->Below(kMaxResident - kMinResident + 1);
  std::vector<std::unique_ptr<Cta>> resident;
  while (!waiting.empty() || !resident.empty()) {
    while (!waiting.empty() && resident.size() < most) {
      resident.push_back(
          std::make_unique<Cta>(shape, Unflatten(waiting.back(), shape.grid), stacks, body));
      for (Warp& warp : resident.back()->warps()) warp.priority = random->Next();
      waiting.pop_back();
    }
    size_t chosen = 0;
    int chosen_warp = -1;
    uint64_t best = 0;
    for (size_t c = 0; c < resident.size(); ++c) {
      for (unsigned w = 0; w < resident[c]->warps().size(); ++w) {
        if (!resident[c]->CanRun(w) || resident[c]->warps()[w].priority < best) continue;
        best = resident[c]->warps()[w].priority;
        chosen = c;
        chosen_warp = static_cast<int>(w);
      }
    }
    if (chosen_warp < 0) resident.front()->Deadlock();
    resident[chosen]->RunWarp(static_cast<unsigned>(chosen_warp), random);
    if (resident[chosen]->done()) resident.erase(resident.begin() + static_cast<ptrdiff_t>(chosen));
  }
}

void Barrier(const Site& site) {
  current->site = site;
  Pause(ThreadState::kBarrier);
}

const std::array<Words, kWarp>& Collective(uint32_t mask, const Words& words, const Site& site) {
  Thread* const self = current;
  if ((mask >> self->lane & 1) == 0) {
    KernelError(*self,
                absl::StrCat("is not in the mask ",
                             absl::Hex(mask),
                             " of its own collective at ",
                             At(site)));
  }
  self->site = site;
  self->mask = mask;
  self->words = words;
  Pause(ThreadState::kCollective);
  return self->cta->warps()[self->warp].words;
}

void Yield() { Pause(ThreadState::kReady); }

void Observed(const void* address, uint64_t value) {
  Thread* const self = current;
  const bool again = self->watched == address && self->watched_value == value;
  self->watched = address;
  self->watched_value = value;
  self->watched_count = again ? self->watched_count + 1 : 0;
  if (self->watched_count == kSpinLimit) {
    KernelError(*self, "spins: it waits for another CTA, which need not be running");
  }
}

void CopyAsync(void* shared, const void* global, size_t bytes) {
  Thread* const self = current;
  if (bytes > kCopyBytes) KernelError(*self, absl::StrCat("copies ", bytes, " bytes of 16"));
  if ((reinterpret_cast<uintptr_t>(shared) | reinterpret_cast<uintptr_t>(global)) % kCopyBytes) {
    KernelError(*self, "an asynchronous copy is not aligned to 16 bytes");
  }
  if (!self->cta->InShared(shared, kCopyBytes)) {
    KernelError(*self, "an asynchronous copy goes past the CTA's shared memory");
  }
  if (bytes > 0 && !InDeviceMemory(global, bytes)) {
    KernelError(*self, "an asynchronous copy comes from outside of device memory");
  }
  std::memset(shared, kNaNByte, kCopyBytes);
  self->copies.push_back({shared, global, bytes, self->commits});
}

void CopyAsyncCommit() { ++current->commits; }

void CopyAsyncWait(uint64_t groups) {
  Thread* const self = current;
  std::erase_if(self->copies, [&](const PendingCopy& copy) {
    const bool due = copy.group + groups < self->commits;
    if (due) Land(copy);
    return due;
  });
}

}  // namespace pagoda::fake_cuda
