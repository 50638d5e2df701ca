// Runs the CTAs of one kernel launch on this thread. Every CUDA thread is a fiber. A warp runs as
// far as it can, then the warp with the highest random priority goes on (probabilistic concurrency
// testing: Burckhardt et al., ASPLOS 2010); its lanes run one after another, in a shuffled order.
// Several CTAs are resident at once. A kernel's mistake (a barrier that not all threads reach,
// lanes at different collectives, copies in flight at the end, a CTA that waits for another) is
// printed with the kernel's name and the thread, and ends the process.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <source_location>
#include <string>
#include <vector>

#include "tests/testing/fake_cuda/fiber.h"
#include "tests/testing/fake_cuda/random.h"
#include "tests/testing/fake_cuda/vector_types.h"

namespace pagoda::fake_cuda {

inline constexpr unsigned kWarp = 32;
// The registers that one lane brings to a warp collective: mma's are 4 of A, 2 of B, 4 of C.
inline constexpr size_t kMaxWords = 10;
using Words = std::array<uint32_t, kMaxWords>;

using Site = std::source_location;

struct LaunchShape {
  const char* name = "";
  dim3 grid;
  dim3 cta;
  size_t shared_bytes = 0;
};

// The fewest and most CTAs that run side by side, drawn by the seed.
inline constexpr uint64_t kMinResident = 8;
inline constexpr uint64_t kMaxResident = 16;

// The most dynamic shared memory of a CTA on sm_80.
inline constexpr int kMaxSharedBytes = 163 << 10;

class Cta;

enum class ThreadState : uint8_t { kReady, kBarrier, kCollective, kDone };

// cp.async of one thread that has not landed.
struct PendingCopy {
  void* destination;
  const void* source;
  size_t bytes;    // read from the source; zeros up to 16
  uint64_t group;  // commits of the thread before it
};

struct Thread {
  Cta* cta = nullptr;
  uint3 index = {};
  unsigned warp = 0;
  unsigned lane = 0;
  ThreadState state = ThreadState::kReady;
  Site site;          // of the barrier or collective it waits at
  uint32_t mask = 0;  // of the collective
  Words words = {};   // what it brings to the collective
  std::vector<PendingCopy> copies;
  uint64_t commits = 0;
  // An atomic that changes nothing and keeps giving the same answer is a wait for another CTA.
  const void* watched = nullptr;
  uint64_t watched_value = 0;
  int watched_count = 0;
  std::unique_ptr<Fiber> fiber;
};

struct Warp {
  std::array<Words, kWarp> words = {};  // of the last collective, by lane
  uint64_t priority = 0;
  unsigned ready = kWarp;  // lanes that can run
};

struct SharedDelete {
  void operator()(std::byte* p) const;
};

class Cta {
 public:
  Cta(const LaunchShape& shape, uint3 index, StackPool* stacks, const std::function<void()>& body);

  const LaunchShape& shape() const { return shape_; }
  uint3 index() const { return index_; }
  std::byte* shared() const { return shared_.get(); }
  bool InShared(const void* p, size_t bytes) const;
  std::vector<Thread>& threads() { return threads_; }
  std::vector<Warp>& warps() { return warps_; }
  bool done() const { return done_ == threads_.size(); }

  bool CanRun(unsigned warp) const { return warps_[warp].ready > 0; }
  // Runs the ready lanes of a warp, then lets go whom that freed.
  void RunWarp(unsigned warp, Random* random);
  // Names a thread that can never go on. REQUIRES: no warp can run and the CTA is not done.
  [[noreturn]] void Deadlock();

 private:
  void Resume(Thread* thread, Random* random);
  void ReleaseCollectives(unsigned warp);
  void ReleaseBarrier();

  const LaunchShape& shape_;
  const uint3 index_;
  std::unique_ptr<std::byte, SharedDelete> shared_;  // exactly what the launch asked for
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  size_t done_ = 0;
};

// Runs the whole grid. `body` calls the kernel with its arguments.
void RunGrid(const LaunchShape& shape, const std::function<void()>& body, Random* random);

// The thread that runs; null outside of kernels.
inline Thread* current = nullptr;

// Ends the process with the kernel, the CTA and the thread before the message.
[[noreturn]] void KernelError(const Thread& thread, const std::string& message);

// For the device functions: the running thread waits.
void Barrier(const Site& site);
// Waits for all lanes of `mask` at this site; answers what each of them brought.
const std::array<Words, kWarp>& Collective(uint32_t mask, const Words& words, const Site& site);
// Lets other warps and CTAs run.
void Yield();
// After an atomic operation on `address` that saw `value` and changed nothing.
void Observed(const void* address, uint64_t value);

// cp.async: `bytes` of 16 from global memory, zeros after them.
void CopyAsync(void* shared, const void* global, size_t bytes);
void CopyAsyncCommit();
// Until at most `groups` of the latest committed groups are in flight.
void CopyAsyncWait(uint64_t groups);

}  // namespace pagoda::fake_cuda
