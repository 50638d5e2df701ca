// The threads that run a step together: the caller, who is thread 0, and size() - 1 helpers. Work
// is given out one job at a time; a job ends when every thread is done with its share. Inside a
// step helpers wait for the next job by a short spin, then asleep; between steps they sleep.
// Denormals are flushed in the helpers (the caller sees to itself).
//
// How work is divided decides no bits: a kernel gives each output to one thread whole.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "common/mutex.h"

namespace pagoda::cpu {

class ThreadTeam {
 public:
  // REQUIRES: size >= 1.
  explicit ThreadTeam(int size);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return size_; }

  // While it lives the helpers are awake and react within a fraction of a microsecond.
  class Step {
   public:
    explicit Step(ThreadTeam* team) : team_(team) { team_->Awaken(); }
    ~Step() { team_->awake_.store(false, std::memory_order_relaxed); }
    Step(const Step&) = delete;
    Step& operator=(const Step&) = delete;

   private:
    ThreadTeam* const team_;
  };

  // Calls fn(thread) once on every thread, [0, size()). One caller at a time, never from a job.
  void Run(absl::FunctionRef<void(int thread)> fn);

  // fn(begin, end, thread) on equal contiguous parts of [0, count); empty parts are not called.
  template <class Fn>
  void Split(int64_t count, const Fn& fn) {
    if (count <= 0) return;
    if (size_ == 1 || count == 1) return fn(int64_t{0}, count, 0);
    Run([&](int thread) {
      const int64_t begin = count * thread / size_;
      const int64_t end = count * (thread + 1) / size_;
      if (begin < end) fn(begin, end, thread);
    });
  }

  // fn(index, thread) for every index of [0, count), each taken by the next free thread.
  template <class Fn>
  void ForEach(int64_t count, const Fn& fn) {
    if (size_ == 1 || count <= 1) {
      for (int64_t i = 0; i < count; ++i) fn(i, 0);
      return;
    }
    std::atomic<int64_t> next{0};
    Run([&](int thread) {
      for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) fn(i, thread);
    });
  }

 private:
  using Job = absl::FunctionRef<void(int thread)>;

  void Awaken();
  void Work(int thread);
  void AwaitJob(uint32_t seen);
  // True when word != old (with acquire order); false after a spin in vain, or out of a step.
  bool SpinWhileEqual(const std::atomic<uint32_t>& word, uint32_t old) const;
  // Sleeps until word != old or, if `or_awake`, a step begins.
  void SleepWhileEqual(const std::atomic<uint32_t>& word, uint32_t old, bool or_awake);
  // Call after a seq_cst store to what sleepers wait for.
  void WakeSleepers();

  const int size_;
  const Job* job_ = nullptr;  // written by the caller before generation_ grows
  std::atomic<bool> stop_{false};
  std::atomic<bool> awake_{false};
  alignas(64) std::atomic<uint32_t> generation_{0};  // jobs given out
  alignas(64) std::atomic<uint32_t> busy_{0};        // helpers not yet done with the job
  alignas(64) std::atomic<int> sleepers_{0};
  Mutex mu_;
  CondVar changed_;
  std::vector<std::thread> helpers_;
};

}  // namespace pagoda::cpu
