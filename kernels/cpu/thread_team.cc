#include "kernels/cpu/thread_team.h"

#include <immintrin.h>

#include "common/check.h"
#include "kernels/cpu/flush_denormals.h"

namespace pagoda::cpu {
namespace {

// About 50 us: longer than the single-threaded stretches of a step, shorter than a time slice.
constexpr int kSpins = 2000;

}  // namespace

ThreadTeam::ThreadTeam(int size) : size_(size) {
  CHECK_GE(size, 1);
  for (int thread = 1; thread < size; ++thread) {
    helpers_.emplace_back([this, thread] { Work(thread); });
  }
}

ThreadTeam::~ThreadTeam() {
  stop_.store(true, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_seq_cst);
  WakeSleepers();
  for (std::thread& helper : helpers_) helper.join();
}

void ThreadTeam::Run(Job fn) {
  if (size_ == 1) return fn(0);
  CHECK_EQ(busy_.load(std::memory_order_relaxed), 0u) << "a job inside a job";
  job_ = &fn;
  busy_.store(size_ - 1, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_seq_cst);
  WakeSleepers();
  fn(0);
  for (uint32_t busy; (busy = busy_.load(std::memory_order_acquire)) != 0;) {
    if (!SpinWhileEqual(busy_, busy)) SleepWhileEqual(busy_, busy, /*or_awake=*/false);
  }
}

void ThreadTeam::Awaken() {
  awake_.store(true, std::memory_order_seq_cst);
  WakeSleepers();
}

void ThreadTeam::Work(int thread) {
  const ScopedFlushDenormals flush;
  for (uint32_t seen = 0;; ++seen) {
    AwaitJob(seen);
    if (stop_.load(std::memory_order_relaxed)) return;
    (*job_)(thread);
    if (busy_.fetch_sub(1, std::memory_order_seq_cst) == 1) WakeSleepers();
  }
}

void ThreadTeam::AwaitJob(uint32_t seen) {
  if (!awake_.load(std::memory_order_relaxed)) SleepWhileEqual(generation_, seen, true);
  if (!SpinWhileEqual(generation_, seen)) SleepWhileEqual(generation_, seen, false);
}

bool ThreadTeam::SpinWhileEqual(const std::atomic<uint32_t>& word, uint32_t old) const {
  for (int i = 0; i < kSpins; ++i) {
    if (word.load(std::memory_order_acquire) != old) return true;
    if (!awake_.load(std::memory_order_relaxed)) return false;
    _mm_pause();
  }
  return false;
}

void ThreadTeam::SleepWhileEqual(const std::atomic<uint32_t>& word, uint32_t old, bool or_awake) {
  MutexLock lock(&mu_);
  // Either the writer sees this sleeper, or the sleeper sees what was written: all are seq_cst.
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  while (word.load(std::memory_order_seq_cst) == old &&
         !(or_awake && awake_.load(std::memory_order_seq_cst))) {
    changed_.Wait(&mu_);
  }
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
}

void ThreadTeam::WakeSleepers() {
  if (sleepers_.load(std::memory_order_seq_cst) == 0) return;
  MutexLock lock(&mu_);
  changed_.SignalAll();
}

}  // namespace pagoda::cpu
