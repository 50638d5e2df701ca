// The fake device's queues. Work is queued by the API and run later, on the thread of some later
// call: at a synchronisation as much as it needs, at other calls a random amount. Which stream's
// next operation runs is drawn by the seed, as far as streams and events allow. Thread-safe; one
// operation runs at a time.
#pragma once

#include <poll.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/mutex.h"
#include "tests/testing/fake_cuda/cuda_types.h"
#include "tests/testing/fake_cuda/random.h"

namespace pagoda::fake_cuda {

// Queued work. `attempt` runs with the runtime's lock held and the device's memory open; false: not
// yet, the stream stands still.
struct Op {
  std::function<bool(Random*)> attempt;
  // Of work that waits for something outside of the queues: what poll() may wait for.
  std::function<void(std::vector<pollfd>*)> wakers = nullptr;
};

// How far a recorded event has come; outlives the event's handle in the queues that wait for it,
// hence shared.
struct EventState {
  uint64_t recorded = 0;
  uint64_t completed = 0;
  bool has_clock = false;
  std::chrono::steady_clock::time_point time;  // of the last completion
  // Of a record under capture: the graph and the nodes that the event stands for.
  CUgraph_st* graph = nullptr;
  std::vector<size_t> nodes;
};

}  // namespace pagoda::fake_cuda

// Nodes come after what they depend on.
struct CUgraph_st {
  struct Node {
    std::function<bool(pagoda::fake_cuda::Random*)> attempt;
    std::vector<size_t> after;
  };
  std::vector<Node> nodes;
  bool is_valid = true;
};

struct CUgraphExec_st {
  std::vector<CUgraph_st::Node> nodes;
};

struct CUstream_st {
  int device = 0;
  std::deque<pagoda::fake_cuda::Op> queue;
  CUgraph_st* capture = nullptr;
  std::vector<size_t> after;  // under capture: what the next node depends on
};

struct CUevent_st {
  std::shared_ptr<pagoda::fake_cuda::EventState> state;
};

namespace pagoda::fake_cuda {

class Runtime {
 public:
  static Runtime& Get();

  // Between tests: a new schedule. REQUIRES: every queue is empty.
  void Reset(uint64_t seed);

  // Every call of the API begins here: the sticky error, if there is one, else a random amount of
  // queued work is done.
  cudaError_t Enter() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The same for a call that no capture allows: ends all captures.
  cudaError_t EnterUncapturable() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Queues work, or makes it a node of the graph that the stream captures.
  cudaError_t Enqueue(cudaStream_t stream, Op op) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Runs queued work until the stream has none, or no stream of this thread's device.
  cudaError_t Finish(cudaStream_t stream) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  cudaError_t FinishDevice() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  cudaError_t Finish(const EventState& event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Mutex* mutex() ABSL_LOCK_RETURNED(mutex_) { return &mutex_; }
  Random* random() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return &random_; }
  std::set<cudaStream_t>* streams() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return &streams_; }
  std::set<CUgraph_st*>* captures() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return &captures_; }
  // What cudaFuncSetAttribute allowed each kernel.
  std::map<const void*, size_t>* shared_limits() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return &shared_limits_;
  }
  // This thread's device.
  static int device() { return device_; }
  static void set_device(int device) { device_ = device; }
  // From now on every call fails, as after a fault on the device.
  void Break(cudaError_t error) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { sticky_ = error; }
  cudaError_t sticky() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return sticky_; }

 private:
  // Runs a random amount of queued work.
  void RunSome() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Runs one queued operation, any that can; false: none can. The device's memory is open.
  bool RunOne() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RunUntil(const std::function<bool()>& done) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WaitForPeers() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  inline static thread_local int device_ = 0;

  Mutex mutex_;
  Random random_ ABSL_GUARDED_BY(mutex_){1};
  uint64_t eagerness_ ABSL_GUARDED_BY(mutex_) = 0;
  std::set<cudaStream_t> streams_ ABSL_GUARDED_BY(mutex_);
  std::set<CUgraph_st*> captures_ ABSL_GUARDED_BY(mutex_);
  std::map<const void*, size_t> shared_limits_ ABSL_GUARDED_BY(mutex_);
  cudaError_t sticky_ ABSL_GUARDED_BY(mutex_) = cudaSuccess;
};

// PAGODA_FAKE_CUDA_SEED of the environment, or 1.
uint64_t FirstSeed();
// A new schedule from here on.
void SetSeed(uint64_t seed);
// How many devices there are: PAGODA_FAKE_CUDA_DEVICES of the environment, or 1. They share one
// memory.
extern std::atomic<int> device_count;
// A fault on the device: the sticky error of every later call, until SetSeed.
void BreakDevice(cudaError_t error);

}  // namespace pagoda::fake_cuda
