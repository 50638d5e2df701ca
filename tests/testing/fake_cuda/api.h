// The CUDA runtime's functions, as far as the project calls them. They answer as the real ones do;
// where the real ones only misbehave (a default stream, a copy to a freed address, a handle that is
// none) they answer with an error.
#pragma once

#include <cstddef>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "tests/testing/fake_cuda/cuda_types.h"

cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaDeviceGetPCIBusId(char* id, int size, int device);
cudaError_t cudaMemGetInfo(size_t* free, size_t* total);
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaGetLastError();
const char* cudaGetErrorName(cudaError_t error);
const char* cudaGetErrorString(cudaError_t error);

cudaError_t cudaMalloc(void** p, size_t bytes);
cudaError_t cudaFree(void* p);
cudaError_t cudaHostAlloc(void** p, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void* p);
cudaError_t cudaMemcpyAsync(void* destination,
                            const void* source,
                            size_t bytes,
                            cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemcpyBatchAsync(void* const* destinations,
                                 const void* const* sources,
                                 const size_t* sizes,
                                 size_t count,
                                 cudaMemcpyAttributes* attributes,
                                 size_t* firsts,
                                 size_t num_attributes,
                                 cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t stream);

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end);

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned flags = 0);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);

namespace pagoda::fake_cuda {

// A launch's argument: its bytes, and whether it is a pointer.
struct Argument {
  const void* data;
  size_t bytes;
  bool is_pointer;
};

cudaError_t Launch(const cudaLaunchConfig_t& config,
                   const void* kernel,
                   const std::vector<Argument>& arguments,
                   std::function<void()> body);
cudaError_t AllowShared(const void* kernel, int bytes);

// The name that the next launch of this thread goes by in messages.
void NameNextLaunch(const char* name);

}  // namespace pagoda::fake_cuda

template <class... P, class... A>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(P...), A&&... a) {
  const std::tuple<std::decay_t<P>...> arguments(static_cast<P>(a)...);
  return std::apply(
      [&](const auto&... each) {
        return pagoda::fake_cuda::Launch(
            *config,
            reinterpret_cast<const void*>(kernel),
            {{&each, sizeof(each), std::is_pointer_v<std::decay_t<P>>}...},
            [kernel, arguments] { std::apply(kernel, arguments); });
      },
      arguments);
}

template <class K>
cudaError_t cudaFuncSetAttribute(K* kernel, cudaFuncAttribute, int value) {
  return pagoda::fake_cuda::AllowShared(reinterpret_cast<const void*>(kernel), value);
}
