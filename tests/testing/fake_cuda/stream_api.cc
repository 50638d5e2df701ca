// Streams, events and graphs.
#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

#include "tests/testing/fake_cuda/api.h"
#include "tests/testing/fake_cuda/runtime.h"

using pagoda::MutexLock;
using pagoda::fake_cuda::EventState;
using pagoda::fake_cuda::Random;
using pagoda::fake_cuda::Runtime;

cudaError_t cudaDeviceSynchronize() {
  Runtime& runtime = Runtime::Get();
  MutexLock lock(runtime.mutex());
  if (const cudaError_t error = runtime.EnterUncapturable(); error != cudaSuccess) return error;
  return runtime.FinishDevice();
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  Runtime& runtime = Runtime::Get();
  MutexLock lock(runtime.mutex());
  if (const cudaError_t error = runtime.Enter(); error != cudaSuccess) return error;
  if (flags != cudaStreamNonBlocking) return cudaErrorInvalidValue;
  *stream = std::make_unique<CUstream_st>().release();
  (*stream)->device = Runtime::device();
  runtime.streams()->insert(*stream);
  return cudaSuccess;
}

// Work that is queued is still done, as with the real one.
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  Runtime& runtime = Runtime::Get();
  MutexLock lock(runtime.mutex());
  if (runtime.streams()->count(stream) == 0) return cudaErrorInvalidResourceHandle;
  const cudaError_t finished = runtime.Finish(stream);
  runtime.streams()->erase(stream);
  const std::unique_ptr<CUstream_st> dead(stream);
  return finished;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  Runtime& runtime = Runtime::Get();
  MutexLock lock(runtime.mutex());
  if (const cudaError_t error = runtime.EnterUncapturable(); error != cudaSuccess) return error;
  if (runtime.streams()->count(stream) == 0) return cudaErrorInvalidResourceHandle;
  return runtime.Finish(stream);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  if (flags != cudaEventDefault && (flags & ~cudaEventBlockingSync) != cudaEventDisableTiming) {
    return cudaErrorInvalidValue;
  }
  auto made = std::make_unique<CUevent_st>();
  made->state = std::make_shared<EventState>();
  made->state->has_clock = flags == cudaEventDefault;
  *event = made.release();
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  Runtime& runtime = Runtime::Get();
  MutexLock lock(runtime.mutex());
  const std::unique_ptr<CUevent_st> dead(event);
  return runtime.sticky();
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  Runtime& runtime = Runtime::Get();
  MutexLock lock(runtime.mutex());
  if (const cudaError_t error = runtime.Enter(); error != cudaSuccess) return error;
  if (runtime.streams()->count(stream) == 0) return cudaErrorInvalidResourceHandle;
  EventState& state = *event->state;
  state.graph = stream->capture;
  if (stream->capture != nullptr) {
    state.nodes = stream->after;
    return cudaSuccess;
  }
  const uint64_t turn = ++state.recorded;
  return runtime.Enqueue(stream, {[turn, shared = event->state](Random*) {
                           shared->completed = std::max(shared->completed, turn);
                           shared->time = std::chrono::steady_clock::now();
                           return true;
                         }});
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  Runtime& runtime = Runtime::Get();
  MutexLock lock(runtime.mutex());
  if (const cudaError_t error = runtime.Enter(); error != cudaSuccess) return error;
  if (runtime.streams()->count(stream) == 0) return cudaErrorInvalidResourceHandle;
  const EventState& state = *event->state;
  if (state.graph != nullptr) {  // the stream takes part in that capture
    if (runtime.captures()->count(state.graph) == 0) return cudaErrorInvalidValue;
    if (stream->capture != nullptr && stream->capture != state.graph) {
      return cudaErrorStreamCaptureUnsupported;
    }
    stream->capture = state.graph;
    stream->after.insert(stream->after.end(), state.nodes.begin(), state.nodes.end());
    return cudaSuccess;
  }
  // A graph may not wait for what is outside of it.
  if (stream->capture != nullptr) {
    stream->capture->is_valid = false;
    return cudaErrorStreamCaptureUnsupported;
  }
  return runtime.Enqueue(stream, {[turn = state.recorded, shared = event->state](Random*) {
                           return shared->completed >= turn;
                         }});
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  Runtime& runtime = Runtime::Get();
  MutexLock lock(runtime.mutex());
  if (const cudaError_t error = runtime.EnterUncapturable(); error != cudaSuccess) return error;
  const std::shared_ptr<EventState> state = event->state;
  return runtime.Finish(*state);
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  Runtime& runtime = Runtime::Get();
  MutexLock lock(runtime.mutex());
  if (const cudaError_t error = runtime.EnterUncapturable(); error != cudaSuccess) return error;
  return event->state->completed >= event->state->recorded ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  Runtime& runtime = Runtime::Get();
  MutexLock lock(runtime.mutex());
  if (const cudaError_t error = runtime.Enter(); error != cudaSuccess) return error;
  for (const EventState* state : {begin->state.get(), end->state.get()}) {
    if (!state->has_clock || state->recorded == 0) return cudaErrorInvalidResourceHandle;
    if (state->completed < state->recorded) return cudaErrorNotReady;
  }
  *milliseconds =
      std::chrono::duration<float, std::milli>(end->state->time - begin->state->time).count();
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  Runtime& runtime = Runtime::Get();
  MutexLock lock(runtime.mutex());
  if (const cudaError_t error = runtime.Enter(); error != cudaSuccess) return error;
  if (runtime.streams()->count(stream) == 0) return cudaErrorInvalidResourceHandle;
  if (stream->capture != nullptr || mode != cudaStreamCaptureModeGlobal) {
    return cudaErrorInvalidValue;
  }
  stream->capture = std::make_unique<CUgraph_st>().release();
  stream->after.clear();
  runtime.captures()->insert(stream->capture);
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  Runtime& runtime = Runtime::Get();
  MutexLock lock(runtime.mutex());
  if (runtime.streams()->count(stream) == 0) return cudaErrorInvalidResourceHandle;
  std::unique_ptr<CUgraph_st> captured(stream->capture);
  *graph = nullptr;
  if (captured == nullptr) return cudaErrorInvalidValue;
  runtime.captures()->erase(captured.get());
  // What other streams captured must have come back to this one.
  std::vector<bool> joined(captured->nodes.size());
  for (const size_t node : stream->after) joined[node] = true;
  for (size_t node = joined.size(); node-- > 0;) {
    if (!joined[node]) continue;
    for (const size_t before : captured->nodes[node].after) joined[before] = true;
  }
  for (cudaStream_t each : *runtime.streams()) {
    if (each->capture != captured.get()) continue;
    each->capture = nullptr;
    each->after.clear();
  }
  if (!captured->is_valid) return cudaErrorStreamCaptureInvalidated;
  if (std::find(joined.begin(), joined.end(), false) != joined.end()) {
    return cudaErrorStreamCaptureUnjoined;
  }
  *graph = captured.release();
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned) {
  Runtime& runtime = Runtime::Get();
  MutexLock lock(runtime.mutex());
  if (const cudaError_t error = runtime.EnterUncapturable(); error != cudaSuccess) return error;
  auto made = std::make_unique<CUgraphExec_st>();
  made->nodes = graph->nodes;
  *exec = made.release();
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  const std::unique_ptr<CUgraph_st> dead(graph);
  return cudaSuccess;
}

// The nodes run in any order that their edges allow.
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  Runtime& runtime = Runtime::Get();
  MutexLock lock(runtime.mutex());
  if (const cudaError_t error = runtime.EnterUncapturable(); error != cudaSuccess) return error;
  return runtime.Enqueue(
      stream,
      {[nodes = exec->nodes,
        done = std::vector<bool>(exec->nodes.size()),
        left = exec->nodes.size()](Random* random) mutable {
        while (left > 0) {
          std::vector<size_t> ready;
          for (size_t i = 0; i < nodes.size(); ++i) {
            const std::vector<size_t>& after = nodes[i].after;
            if (!done[i] &&
                std::all_of(after.begin(), after.end(), [&](size_t n) { return done[n]; })) {
              ready.push_back(i);
            }
          }
          const size_t next = ready[random->Below(ready.size())];
          if (!nodes[next].attempt(random)) return false;
          done[next] = true;
          --left;
        }
        return true;
      }});
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  Runtime& runtime = Runtime::Get();
  MutexLock lock(runtime.mutex());
  const std::unique_ptr<CUgraphExec_st> dead(exec);
  return runtime.sticky();
}
