#include "kernels/cpu/thread_team.h"

#include <immintrin.h>

#include "common/check.h"
#include "kernels/cpu/flush_denormals.h"

namespace pagoda::cpu {
namespace {

// About 50 us: longer than the single-threaded stretches of a step, shorter than a time slice.
constexpr int kSpins = 2000;

constexpr uint64_t kPartsMask = 0xffffffff;

}  // namespace

ThreadTeam::ThreadTeam(int size) : size_(size) {
  CHECK_GE(size, 1);
  for (int thread = 1; thread < size; ++thread) {
    helpers_.emplace_back([this, thread] { Help(thread); });
  }
}

ThreadTeam::~ThreadTeam() {
  stop_.store(true, std::memory_order_seq_cst);
  WakeSleepers();
  for (std::thread& helper : helpers_) helper.join();
}

void ThreadTeam::ForEach(int64_t count, Job fn) {
  if (size_ == 1 || count <= 1) {
    for (int64_t i = 0; i < count; ++i) fn(i, 0);
    return;
  }
  CHECK_LT(count, int64_t{1} << 32);
  CHECK_EQ(unfinished_.load(std::memory_order_relaxed), 0u) << "a job inside a job";
  job_ = &fn;
  unfinished_.store(static_cast<uint32_t>(count), std::memory_order_relaxed);
  const uint64_t number = (tickets_.load(std::memory_order_relaxed) >> 32) + 1;
  tickets_.store(number << 32 | static_cast<uint64_t>(count), std::memory_order_seq_cst);
  WakeSleepers();
  DoParts(0);
  const auto done = [&] { return unfinished_.load(std::memory_order_seq_cst) == 0; };
  if (!SpinUntil(done)) SleepUntil(done);
}

void ThreadTeam::DoParts(int thread) {
  uint64_t tickets = tickets_.load(std::memory_order_acquire);
  while ((tickets & kPartsMask) != 0) {
    if (!tickets_.compare_exchange_weak(tickets,
                                        tickets - 1,
                                        std::memory_order_acq_rel,
                                        std::memory_order_acquire)) {
      continue;
    }
    (*job_)(static_cast<int64_t>((tickets & kPartsMask) - 1), thread);
    if (unfinished_.fetch_sub(1, std::memory_order_seq_cst) == 1) WakeSleepers();
    tickets = tickets_.load(std::memory_order_acquire);
  }
}

bool ThreadTeam::HasParts() const {
  return (tickets_.load(std::memory_order_seq_cst) & kPartsMask) != 0;
}

void ThreadTeam::Awaken() {
  awake_.store(true, std::memory_order_seq_cst);
  WakeSleepers();
}

void ThreadTeam::Help(int thread) {
  const ScopedFlushDenormals flush;
  for (AwaitJob(); !stop_.load(std::memory_order_relaxed); AwaitJob()) DoParts(thread);
}

void ThreadTeam::AwaitJob() {
  const auto stop = [&] { return stop_.load(std::memory_order_seq_cst); };
  if (!awake_.load(std::memory_order_relaxed)) {
    SleepUntil([&] { return HasParts() || stop() || awake_.load(std::memory_order_seq_cst); });
  }
  if (SpinUntil([&] { return HasParts(); })) return;
  SleepUntil([&] { return HasParts() || stop(); });
}

template <class Condition>
bool ThreadTeam::SpinUntil(const Condition& condition) const {
  for (int i = 0; i < kSpins; ++i) {
    if (condition()) return true;
    if (!awake_.load(std::memory_order_relaxed)) return false;
    _mm_pause();
  }
  return false;
}

template <class Condition>
void ThreadTeam::SleepUntil(const Condition& condition) {
  MutexLock lock(&mu_);
  // Either the writer sees this sleeper, or the sleeper sees what was written: all are seq_cst.
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  while (!condition()) changed_.Wait(&mu_);
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
}

void ThreadTeam::WakeSleepers() {
  if (sleepers_.load(std::memory_order_seq_cst) == 0) return;
  MutexLock lock(&mu_);
  changed_.SignalAll();
}

}  // namespace pagoda::cpu
