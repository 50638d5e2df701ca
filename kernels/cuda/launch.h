// Launches kernels, and gives them their shared memory. With ptx.h the only place that knows
// whether a source is compiled by nvcc or, for the fake device, by the host's compiler.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <utility>

namespace pagoda::cuda {

struct LaunchShape {
  const char* name;  // of the kernel, for messages
  dim3 grid;
  unsigned threads = 0;     // of a CTA; a multiple of 32
  size_t shared_bytes = 0;  // sizeof the struct that the kernel takes from SharedMemory
  cudaStream_t stream = nullptr;
};

// Queues kernel(args...). Shared memory above 48 KiB must have been allowed with AllowShared.
template <class... P, class... A>
cudaError_t Launch(const LaunchShape& shape, void (*kernel)(P...), A&&... args) {
#ifndef __CUDACC__
  fake_cuda::NameNextLaunch(shape.name);
#endif
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = dim3(shape.threads);
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = shape.stream;
  return cudaLaunchKernelEx(&config, kernel, std::forward<A>(args)...);
}

// Once per kernel and process, at start.
template <class... P>
cudaError_t AllowShared(void (*kernel)(P...), size_t bytes) {
  return cudaFuncSetAttribute(kernel,
                              cudaFuncAttributeMaxDynamicSharedMemorySize,
                              static_cast<int>(bytes));
}

// The CTA's one piece of shared memory: a struct, uninitialised.
template <class T>
__device__ __forceinline__ T& SharedMemory() {
  static_assert(alignof(T) <= 128);
#ifdef __CUDACC__
  extern __shared__ __align__(128) unsigned char pagoda_shared_memory[];
  return *reinterpret_cast<T*>(pagoda_shared_memory);
#else
  return *reinterpret_cast<T*>(fake_cuda::current->cta->shared());
#endif
}

}  // namespace pagoda::cuda
