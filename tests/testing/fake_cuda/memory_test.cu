// What the fake device finds in the use of its memory, and in launches.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "absl/status/status.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/resources.h"
#include "tests/kernels/cuda/device_array.h"
#include "tests/testing/fake_cuda/memory.h"
#include "tests/testing/fake_cuda/runtime.h"
#include "tests/testing/fake_cuda/sanitizer.h"

namespace pagoda::cuda {
namespace {

__global__ void WriteAt(float* p, int64_t index) {
  if (threadIdx.x == 0) p[index] = 1;
}

struct Holder {
  int64_t before;
  const float* inside;
};

__global__ void ReadThrough(Holder holder, float* out) { out[0] = holder.inside[0]; }

class FakeMemory : public ::testing::Test {
 protected:
  void WriteAndWait(float* p, int64_t index) {
    static_cast<void>(Launch({"WriteAt", 1, 32, 0, stream_.get()}, WriteAt, p, index));
    cudaStreamSynchronize(stream_.get());
  }

  const Stream stream_ = MakeStreamOrDie();
};
using FakeMemoryDeath = FakeMemory;

// Under AddressSanitizer the report, else the trap.
constexpr char kTrap[] = "AddressSanitizer|^$";

TEST_F(FakeMemoryDeath, AWritePastTheEndOfAnAllocation) {
  const DeviceArray<float> array(std::vector<float>(64), stream_);  // 256 bytes: no slack
  WriteAndWait(array.data(), 63);
  EXPECT_DEATH(WriteAndWait(array.data(), 64), kTrap);
  if (fake_cuda::kAddressSanitizer) {
    const DeviceArray<float> odd(std::vector<float>(10), stream_);
    EXPECT_DEATH(WriteAndWait(odd.data(), 10), "use-after-poison");
  }
}

TEST_F(FakeMemoryDeath, AHostReadOrWriteOfDeviceMemory) {
  const DeviceArray<float> array(std::vector<float>(64), stream_);
  EXPECT_DEATH(array.data()[0] = 1, kTrap);
  EXPECT_DEATH(EXPECT_EQ(array.data()[3], 0), kTrap);
}

TEST_F(FakeMemoryDeath, AKernelThatUsesMemoryFreedAfterItsLaunchWasPrepared) {
  float* stale = nullptr;
  {
    const DeviceArray<float> array(std::vector<float>(64), stream_);
    stale = array.data();
  }
  EXPECT_DEATH(WriteAndWait(stale, 0), "launch of kernel WriteAt: argument 0 leads to no live");
  float host = 0;
  EXPECT_DEATH(WriteAndWait(&host, 0), "argument 0 leads to host memory");
  const DeviceArray<float> out(std::vector<float>(1), stream_);
  const Holder holder = {1, stale};
  EXPECT_DEATH(
      {
        static_cast<void>(
            Launch({"ReadThrough", 1, 32, 0, stream_.get()}, ReadThrough, holder, out.data()));
        cudaStreamSynchronize(stream_.get());
      },
      kTrap);
}

TEST_F(FakeMemory, StartsAsNaNAndGivesBackWhatIsFreed) {
  const size_t used = fake_cuda::DeviceMemoryUsed();
  {
    auto buffer = DeviceBuffer::Make(40);
    ASSERT_TRUE(buffer.ok());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % fake_cuda::kDeviceAlignment, 0U);
    EXPECT_EQ(fake_cuda::DeviceMemoryUsed(), used + 40);
    float value = 0;
    ASSERT_CUDA(cudaMemcpyAsync(&value,
                                buffer->data(),
                                sizeof value,
                                cudaMemcpyDeviceToHost,
                                stream_.get()));
    ASSERT_CUDA(cudaStreamSynchronize(stream_.get()));
    EXPECT_TRUE(std::isnan(value));
  }
  EXPECT_EQ(fake_cuda::DeviceMemoryUsed(), used);
}

TEST_F(FakeMemory, RefusesMoreThanItHas) {
  fake_cuda::SetDeviceMemoryTotal(fake_cuda::DeviceMemoryUsed() + 1000);
  EXPECT_TRUE(DeviceBuffer::Make(1000).ok());
  const auto refused = DeviceBuffer::Make(1001);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(refused.status().message(),
            "allocating 1001 bytes of device memory: cudaErrorMemoryAllocation: "
            "cudaErrorMemoryAllocation");
  fake_cuda::SetDeviceMemoryTotal(size_t{4} << 30);
}

TEST_F(FakeMemory, RefusesCopiesThatLeaveAnAllocationOrNameTheWrongSide) {
  const DeviceArray<float> array(std::vector<float>(4), stream_);
  std::vector<float> host(8);
  const auto copy = [&](void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
    return cudaMemcpyAsync(to, from, bytes, kind, stream_.get());
  };
  EXPECT_EQ(copy(array.data(), host.data(), 20, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(copy(array.data() + 1, host.data(), 16, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(copy(host.data(), array.data(), 16, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(copy(host.data(), array.data(), 20, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpyAsync(array.data(), host.data(), 4, cudaMemcpyHostToDevice, nullptr),
            cudaErrorInvalidResourceHandle);
}

__global__ void Nothing() {}

TEST_F(FakeMemory, LaunchesWithinTheLimitsOfTheArchitectureOnly) {
  const auto launch = [&](dim3 grid, unsigned threads, size_t shared) {
    return Launch({"Nothing", grid, threads, shared, stream_.get()}, Nothing);
  };
  EXPECT_EQ(launch(1, 1024, 0), cudaSuccess);
  EXPECT_EQ(launch(1, 1056, 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(0, 32, 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(dim3(1, 65536), 32, 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(1, 32, 48 << 10), cudaSuccess);
  EXPECT_EQ(launch(1, 32, (48 << 10) + 1), cudaErrorInvalidValue);
  EXPECT_EQ(AllowShared(Nothing, (163 << 10) + 1), cudaErrorInvalidValue);
  ASSERT_CUDA(AllowShared(Nothing, 100 << 10));
  EXPECT_EQ(launch(1, 32, 100 << 10), cudaSuccess);
  EXPECT_EQ(launch(1, 32, (100 << 10) + 1), cudaErrorInvalidValue);
  ASSERT_CUDA(AllowShared(Nothing, 48 << 10));  // as before
  EXPECT_DEATH(static_cast<void>(launch(1, 40, 0)), "a CTA's threads must fill its warps");
}

TEST_F(FakeMemory, AFaultStaysUntilTheDeviceIsSetUpAgain) {
  const DeviceArray<float> array(std::vector<float>(4), stream_);
  fake_cuda::BreakDevice(cudaErrorIllegalAddress);
  EXPECT_EQ(Launch({"WriteAt", 1, 32, 0, stream_.get()}, WriteAt, array.data(), int64_t{0}),
            cudaErrorIllegalAddress);
  EXPECT_EQ(cudaStreamSynchronize(stream_.get()), cudaErrorIllegalAddress);
  EXPECT_EQ(DeviceBuffer::Make(4).status().message(),
            "allocating 4 bytes of device memory: cudaErrorIllegalAddress: "
            "cudaErrorIllegalAddress");
  fake_cuda::SetSeed(1);
  EXPECT_TRUE(DeviceBuffer::Make(4).ok());
}

}  // namespace
}  // namespace pagoda::cuda
