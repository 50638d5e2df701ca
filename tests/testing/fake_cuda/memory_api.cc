// The device, its memory, and copies.
#include <cstdio>
#include <cstring>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/testing/fake_cuda/api.h"
#include "tests/testing/fake_cuda/grid.h"
#include "tests/testing/fake_cuda/memory.h"
#include "tests/testing/fake_cuda/runtime.h"

namespace pagoda::fake_cuda {
namespace {

// An A100's, the smaller of the two architectures that are built for.
constexpr int kMultiprocessors = 108;
constexpr int kMajor = 8;
constexpr int kMinor = 0;

bool CanHold(const void* p, size_t bytes, bool on_device) {
  return on_device ? InDeviceMemory(p, bytes) : p != nullptr && !IsDeviceAddress(p);
}

}  // namespace
}  // namespace pagoda::fake_cuda

using pagoda::MutexLock;
using pagoda::fake_cuda::Op;
using pagoda::fake_cuda::Random;
using pagoda::fake_cuda::Runtime;

cudaError_t cudaGetDeviceCount(int* count) {
  *count = pagoda::fake_cuda::device_count;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  *device = Runtime::device();
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= pagoda::fake_cuda::device_count) return cudaErrorInvalidDevice;
  Runtime::set_device(device);
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device < 0 || device >= pagoda::fake_cuda::device_count) return cudaErrorInvalidDevice;
  switch (attribute) {
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = pagoda::fake_cuda::kMaxSharedBytes;
      return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      *value = pagoda::fake_cuda::kMultiprocessors;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = pagoda::fake_cuda::kMajor;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = pagoda::fake_cuda::kMinor;
      return cudaSuccess;
  }
  return cudaErrorInvalidValue;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device < 0 || device >= pagoda::fake_cuda::device_count) return cudaErrorInvalidDevice;
  *properties = {.name = "fake device"};
  return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char* id, int size, int device) {
  if (device < 0 || device >= pagoda::fake_cuda::device_count) return cudaErrorInvalidDevice;
  std::snprintf(id, static_cast<size_t>(size), "0000:%02x:00.0", device);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *total = pagoda::fake_cuda::DeviceMemoryTotal();
  *free = *total - pagoda::fake_cuda::DeviceMemoryUsed();
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** p, size_t bytes) {
  Runtime& runtime = Runtime::Get();
  MutexLock lock(runtime.mutex());
  if (const cudaError_t error = runtime.EnterUncapturable(); error != cudaSuccess) return error;
  *p = bytes == 0 ? nullptr : pagoda::fake_cuda::AllocateDevice(bytes);
  return bytes > 0 && *p == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}

// Waits for all work, as the real one does.
cudaError_t cudaFree(void* p) {
  Runtime& runtime = Runtime::Get();
  MutexLock lock(runtime.mutex());
  if (const cudaError_t error = runtime.EnterUncapturable();
      error != cudaSuccess && error != runtime.sticky()) {
    return error;
  }
  const cudaError_t finished = runtime.FinishDevice();
  if (p != nullptr && !pagoda::fake_cuda::FreeDevice(p)) return cudaErrorInvalidValue;
  return finished;
}

cudaError_t cudaHostAlloc(void** p, size_t bytes, unsigned flags) {
  Runtime& runtime = Runtime::Get();
  MutexLock lock(runtime.mutex());
  if (const cudaError_t error = runtime.EnterUncapturable(); error != cudaSuccess) return error;
  if (flags != cudaHostAllocDefault) return cudaErrorInvalidValue;
  *p = pagoda::fake_cuda::AllocateHost(bytes);
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* p) {
  Runtime& runtime = Runtime::Get();
  MutexLock lock(runtime.mutex());
  const cudaError_t finished = runtime.FinishDevice();
  if (p != nullptr && !pagoda::fake_cuda::FreeHost(p)) return cudaErrorInvalidValue;
  return finished;
}

cudaError_t cudaMemcpyAsync(void* destination,
                            const void* source,
                            size_t bytes,
                            cudaMemcpyKind kind,
                            cudaStream_t stream) {
  Runtime& runtime = Runtime::Get();
  MutexLock lock(runtime.mutex());
  if (const cudaError_t error = runtime.Enter(); error != cudaSuccess) return error;
  if (bytes == 0) return cudaSuccess;
  if (!pagoda::fake_cuda::CanHold(destination, bytes, kind != cudaMemcpyDeviceToHost) ||
      !pagoda::fake_cuda::CanHold(source, bytes, kind != cudaMemcpyHostToDevice)) {
    return cudaErrorInvalidValue;
  }
  return runtime.Enqueue(stream, {[=](Random*) {
                           std::memmove(destination, source, bytes);
                           return true;
                         }});
}

// The copies of a batch run in any order.
cudaError_t cudaMemcpyBatchAsync(void* const* destinations,
                                 const void* const* sources,
                                 const size_t* sizes,
                                 size_t count,
                                 cudaMemcpyAttributes* attributes,
                                 size_t* firsts,
                                 size_t num_attributes,
                                 cudaStream_t stream) {
  Runtime& runtime = Runtime::Get();
  MutexLock lock(runtime.mutex());
  if (const cudaError_t error = runtime.EnterUncapturable(); error != cudaSuccess) return error;
  if (count == 0 || num_attributes != 1 || firsts[0] != 0 ||
      attributes->srcAccessOrder != cudaMemcpySrcAccessOrderStream) {
    return cudaErrorInvalidValue;
  }
  std::vector<std::tuple<void*, const void*, size_t>> copies;
  for (size_t i = 0; i < count; ++i) {
    for (const void* p : {static_cast<const void*>(destinations[i]), sources[i]}) {
      const bool on_device = pagoda::fake_cuda::IsDeviceAddress(p);
      if (!pagoda::fake_cuda::CanHold(p, sizes[i], on_device)) return cudaErrorInvalidValue;
    }
    copies.emplace_back(destinations[i], sources[i], sizes[i]);
  }
  return runtime.Enqueue(stream, {[copies = std::move(copies)](Random* random) mutable {
                           random->Shuffle(&copies);
                           for (const auto& [to, from, bytes] : copies)
                             std::memcpy(to, from, bytes);
                           return true;
                         }});
}

cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t stream) {
  Runtime& runtime = Runtime::Get();
  MutexLock lock(runtime.mutex());
  if (const cudaError_t error = runtime.Enter(); error != cudaSuccess) return error;
  if (bytes == 0) return cudaSuccess;
  if (!pagoda::fake_cuda::InDeviceMemory(p, bytes)) return cudaErrorInvalidValue;
  return runtime.Enqueue(stream, {[=](Random*) {
                           std::memset(p, value, bytes);
                           return true;
                         }});
}

cudaError_t cudaGetLastError() {
  Runtime& runtime = Runtime::Get();
  MutexLock lock(runtime.mutex());
  return runtime.sticky();
}

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
#define PAGODA_NAME(name) \
  case name:              \
    return #name
    PAGODA_NAME(cudaSuccess);
    PAGODA_NAME(cudaErrorInvalidValue);
    PAGODA_NAME(cudaErrorMemoryAllocation);
    PAGODA_NAME(cudaErrorInvalidConfiguration);
    PAGODA_NAME(cudaErrorInsufficientDriver);
    PAGODA_NAME(cudaErrorInvalidDeviceFunction);
    PAGODA_NAME(cudaErrorNoDevice);
    PAGODA_NAME(cudaErrorInvalidDevice);
    PAGODA_NAME(cudaErrorInvalidResourceHandle);
    PAGODA_NAME(cudaErrorNotReady);
    PAGODA_NAME(cudaErrorIllegalAddress);
    PAGODA_NAME(cudaErrorLaunchFailure);
    PAGODA_NAME(cudaErrorStreamCaptureUnsupported);
    PAGODA_NAME(cudaErrorStreamCaptureInvalidated);
    PAGODA_NAME(cudaErrorStreamCaptureUnmatched);
    PAGODA_NAME(cudaErrorStreamCaptureUnjoined);
#undef PAGODA_NAME
  }
  return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) { return cudaGetErrorName(error); }
