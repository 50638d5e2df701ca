#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/testing/fake_cuda/api.h"
#include "tests/testing/fake_cuda/grid.h"
#include "tests/testing/fake_cuda/memory.h"
#include "tests/testing/fake_cuda/runtime.h"

namespace pagoda::fake_cuda {
namespace {

// The limits of sm_80, below those of sm_90.
constexpr uint64_t kMaxThreads = 1024;
constexpr unsigned kMaxCtaZ = 64;
constexpr unsigned kMaxGridYz = 65'535;
constexpr unsigned kMaxGridX = 0x7fffffff;
constexpr size_t kSharedByDefault = size_t{48} << 10;

thread_local const char* next_name = nullptr;

bool Fits(const LaunchShape& shape) {
  const uint64_t threads = uint64_t{shape.cta.x} * shape.cta.y * shape.cta.z;
  return threads >= 1 && threads <= kMaxThreads && shape.cta.z <= kMaxCtaZ && shape.grid.x >= 1 &&
         shape.grid.y >= 1 && shape.grid.z >= 1 && shape.grid.x <= kMaxGridX &&
         shape.grid.y <= kMaxGridYz && shape.grid.z <= kMaxGridYz;
}

[[noreturn]] void LaunchError(const LaunchShape& shape, const std::string& message) {
  const std::string line =
      absl::StrCat("fake cuda: launch of kernel ", shape.name, ": ", message, "\n");
  std::fputs(line.c_str(), stderr);
  std::abort();
}

// A pointer must lead into a live allocation. (One inside of a struct is not looked for, since
// padding may look like one; it traps when it is used.)
void CheckPointer(const LaunchShape& shape, size_t number, const Argument& argument) {
  if (!argument.is_pointer) return;
  const void* p = nullptr;
  std::memcpy(&p, argument.data, sizeof p);
  if (p == nullptr || InDeviceMemory(p, 1)) return;
  LaunchError(
      shape,
      absl::StrCat("argument ",
                   number,
                   IsDeviceAddress(p) ? " leads to no live allocation" : " leads to host memory"));
}

// PAGODA_FAKE_CUDA_LOST_AFTER: how many launches go well in this process; 0: all.
bool IsLost() {
  static const char* const text = std::getenv("PAGODA_FAKE_CUDA_LOST_AFTER");
  static const int64_t limit = text == nullptr ? 0 : std::atoll(text);
  static std::atomic<int64_t> launches = 0;
  return limit > 0 && ++launches > limit;
}

}  // namespace

void NameNextLaunch(const char* name) { next_name = name; }

cudaError_t AllowShared(const void* kernel, int bytes) {
  if (bytes < 0 || bytes > kMaxSharedBytes) return cudaErrorInvalidValue;
  Runtime& runtime = Runtime::Get();
  MutexLock lock(runtime.mutex());
  (*runtime.shared_limits())[kernel] = static_cast<size_t>(bytes);
  return cudaSuccess;
}

cudaError_t Launch(const cudaLaunchConfig_t& config,
                   const void* kernel,
                   const std::vector<Argument>& arguments,
                   std::function<void()> body) {
  Runtime& runtime = Runtime::Get();
  MutexLock lock(runtime.mutex());
  if (const cudaError_t error = runtime.Enter(); error != cudaSuccess) return error;
  const char* const name = std::exchange(next_name, nullptr);
  const LaunchShape shape{name == nullptr ? "(unnamed)" : name,
                          config.gridDim,
                          config.blockDim,
                          config.dynamicSmemBytes};
  if (!Fits(shape) || config.numAttrs != 0) return cudaErrorInvalidConfiguration;
  const auto allowed = runtime.shared_limits()->find(kernel);
  if (shape.shared_bytes >
      (allowed == runtime.shared_limits()->end() ? kSharedByDefault : allowed->second)) {
    return cudaErrorInvalidValue;
  }
  if (runtime.streams()->count(config.stream) > 0 && config.stream->device != Runtime::device()) {
    LaunchError(shape, "the stream is of another device than the thread's");
  }
  if (uint64_t{shape.cta.x} * shape.cta.y * shape.cta.z % kWarp != 0) {
    LaunchError(shape, "a CTA's threads must fill its warps");
  }
  for (size_t i = 0; i < arguments.size(); ++i) CheckPointer(shape, i, arguments[i]);
  if (IsLost()) runtime.Break(cudaErrorLaunchFailure);
  return runtime.Enqueue(config.stream, {[shape, body = std::move(body)](Random* random) {
                           RunGrid(shape, body, random);
                           return true;
                         }});
}

}  // namespace pagoda::fake_cuda
