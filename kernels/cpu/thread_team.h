// The threads that run a step together: the caller, who is thread 0, and size() - 1 helpers. A job
// is a number of parts; whoever is free takes the next one, so a helper that the machine does not
// let run costs its help and no more: the caller does the parts alone. Inside a step helpers wait
// for the next job by a short spin, then asleep; between steps they sleep. Denormals are flushed in
// the helpers (the caller sees to itself).
//
// Who takes which part decides no bits: a kernel gives each output to one part whole.
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

  // fn(index, thread) for every index of [0, count), in no order; thread is in [0, size()). Returns
  // when all are done. One caller at a time, never from a job. REQUIRES: count < 2^32.
  void ForEach(int64_t count, absl::FunctionRef<void(int64_t index, int thread)> fn);

  // fn(begin, end, thread) on contiguous parts of [0, count), a few for each thread.
  template <class Fn>
  void Split(int64_t count, const Fn& fn) {
    if (count <= 0) return;
    const int64_t parts =
        size_ == 1 ? 1 : std::min<int64_t>(count, int64_t{kPartsPerThread} * size_);
    ForEach(parts, [&](int64_t part, int thread) {
      fn(count * part / parts, count * (part + 1) / parts, thread);
    });
  }

 private:
  using Job = absl::FunctionRef<void(int64_t index, int thread)>;

  // More parts even out the threads' speeds, at one more exchange of a cache line each.
  static constexpr int kPartsPerThread = 4;

  void Awaken();
  void Help(int thread);
  void AwaitJob();
  // Does parts until none is left to take.
  void DoParts(int thread);
  bool HasParts() const;
  // False after a spin in vain, or out of a step.
  template <class Condition>
  bool SpinUntil(const Condition& condition) const;
  // REQUIRES: whoever makes the condition true, by a seq_cst store, calls WakeSleepers after it.
  template <class Condition>
  void SleepUntil(const Condition& condition);
  void WakeSleepers();

  const int size_;
  // Written by the caller before tickets_, and left alone until unfinished_ is 0 again.
  const Job* job_ = nullptr;
  std::atomic<bool> stop_{false};
  std::atomic<bool> awake_{false};
  // Number of the job << 32 | parts not taken. Taking a part counts it down: whoever succeeds knows
  // that job_ is that job's until the part is done.
  alignas(64) std::atomic<uint64_t> tickets_{0};
  alignas(64) std::atomic<uint32_t> unfinished_{0};  // parts not done
  alignas(64) std::atomic<int> sleepers_{0};
  Mutex mu_;
  CondVar changed_;
  std::vector<std::thread> helpers_;
};

}  // namespace pagoda::cpu
