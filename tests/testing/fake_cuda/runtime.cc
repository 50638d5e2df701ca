#include "tests/testing/fake_cuda/runtime.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "common/check.h"
#include "kernels/cpu/flush_denormals.h"
#include "tests/testing/fake_cuda/memory.h"

namespace pagoda::fake_cuda {
namespace {

// A peer that says nothing for so long is looked at again, in case it is in this process.
constexpr int kPeerPollMs = 20;
// One call in `eagerness` runs something; 0: none does, everything waits for a synchronisation.
constexpr uint64_t kEagerness[] = {0, 1, 4};
constexpr uint64_t kMostAtOnce = 4;

}  // namespace

Runtime& Runtime::Get() {
  static Runtime* const runtime = [] {
    auto made = std::make_unique<Runtime>();
    made->Reset(FirstSeed());
    return made.release();
  }();
  return *runtime;
}

void Runtime::Reset(uint64_t seed) {
  MutexLock lock(&mutex_);
  for (cudaStream_t stream : streams_) CHECK(stream->queue.empty());
  random_ = Random(seed);
  eagerness_ = kEagerness[random_.Below(std::size(kEagerness))];
  sticky_ = cudaSuccess;
}

cudaError_t Runtime::Enter() {
  RunSome();
  return sticky_;
}

void Runtime::RunSome() {
  if (sticky_ != cudaSuccess || eagerness_ == 0 || !random_.OneIn(eagerness_)) return;
  const bool has_work = std::any_of(streams_.begin(), streams_.end(), [](cudaStream_t stream) {
    return !stream->queue.empty();
  });
  if (!has_work) return;
  const DeviceAccess access;
  for (uint64_t left = 1 + random_.Below(kMostAtOnce); left > 0 && RunOne(); --left) {
  }
}

cudaError_t Runtime::EnterUncapturable() {
  if (!captures_.empty()) {
    for (CUgraph_st* graph : captures_) graph->is_valid = false;
    return cudaErrorStreamCaptureUnsupported;
  }
  return Enter();
}

cudaError_t Runtime::Enqueue(cudaStream_t stream, Op op) {
  if (streams_.count(stream) == 0) return cudaErrorInvalidResourceHandle;
  if (stream->capture == nullptr) {
    stream->queue.push_back(std::move(op));
    RunSome();
    return cudaSuccess;
  }
  if (!stream->capture->is_valid) return cudaErrorStreamCaptureInvalidated;
  std::vector<CUgraph_st::Node>& nodes = stream->capture->nodes;
  nodes.push_back({std::move(op.attempt), std::exchange(stream->after, {nodes.size()})});
  return cudaSuccess;
}

cudaError_t Runtime::Finish(cudaStream_t stream) {
  RunUntil([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return streams_.count(stream) == 0 || stream->queue.empty();
  });
  return sticky_;
}

cudaError_t Runtime::FinishDevice() {
  RunUntil([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return std::all_of(streams_.begin(), streams_.end(), [](cudaStream_t stream) {
      return stream->device != device_ || stream->queue.empty();
    });
  });
  return sticky_;
}

cudaError_t Runtime::Finish(const EventState& event) {
  const uint64_t target = event.recorded;
  RunUntil([&] { return event.completed >= target; });
  return sticky_;
}

bool Runtime::RunOne() {
  std::vector<cudaStream_t> ready;
  for (cudaStream_t stream : streams_) {
    if (!stream->queue.empty()) ready.push_back(stream);
  }
  random_.Shuffle(&ready);
  const cpu::ScopedFlushDenormals flush;
  for (cudaStream_t stream : ready) {
    if (!stream->queue.front().attempt(&random_)) continue;
    stream->queue.pop_front();
    return true;
  }
  return false;
}

void Runtime::RunUntil(const std::function<bool()>& done) {
  if (sticky_ != cudaSuccess || done()) return;
  std::optional<DeviceAccess> access(std::in_place);
  while (sticky_ == cudaSuccess && !done()) {
    if (RunOne()) continue;
    access.reset();  // another thread may need it meanwhile
    WaitForPeers();
    access.emplace();
  }
}

void Runtime::WaitForPeers() {
  std::vector<pollfd> wakers;
  bool waits = false;
  for (cudaStream_t stream : streams_) {
    if (stream->queue.empty() || stream->queue.front().wakers == nullptr) continue;
    waits = true;
    stream->queue.front().wakers(&wakers);
  }
  CHECK(waits) << "every stream waits for an event, and none is on its way";
  mutex_.Unlock();
  poll(wakers.data(), wakers.size(), kPeerPollMs);
  mutex_.Lock();
}

void SetSeed(uint64_t seed) { Runtime::Get().Reset(seed); }

void BreakDevice(cudaError_t error) {
  Runtime& runtime = Runtime::Get();
  MutexLock lock(runtime.mutex());
  runtime.Break(error);
}

}  // namespace pagoda::fake_cuda
