// What the fake device finds in a kernel, and that it leaves a correct one alone. A mistake that
// depends on the schedule must show in some of 20.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/ptx.h"
#include "tests/kernels/cuda/device_array.h"
#include "tests/testing/fake_cuda/grid.h"
#include "tests/testing/fake_cuda/runtime.h"

namespace pagoda::cuda {
namespace {

constexpr int kSchedules = 20;
constexpr int kThreads = 128;

// How many of the schedules give `want`.
template <class Fn>
int Right(Fn run, float want) {
  int right = 0;
  for (int seed = 1; seed <= kSchedules; ++seed) {
    fake_cuda::SetSeed(seed);
    right += run() == want;
  }
  return right;
}

enum class Mistake {
  kNone,
  kNoBarrier,
  kNoLastBarrier,
  kDivergence,
  kTwoLines,
};

struct Sums {
  float warp[kThreads / 32];
};

// out[i] = sum of in, by every thread of one CTA, twice over the same shared memory.
__global__ void SumTwice(const float* in, float* out, Mistake mistake) {
  Sums& shared = SharedMemory<Sums>();
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float total = 0;
  for (int round = 0; round < 2; ++round) {
    float sum = in[threadIdx.x] + static_cast<float>(round);
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffff, sum, step);
    if (lane == 0) shared.warp[warp] = sum;
    if (mistake == Mistake::kDivergence && threadIdx.x == 5) return;
    if (mistake == Mistake::kTwoLines && warp == 1) {
      __syncthreads();
    } else if (mistake != Mistake::kNoBarrier) {
      __syncthreads();
    }
    for (int w = 0; w < kThreads / 32; ++w) total += shared.warp[w];
    if (mistake != Mistake::kNoLastBarrier) __syncthreads();
  }
  out[threadIdx.x] = total;
}

// The number of threads that got it right, as a float.
float RunSumTwice(Mistake mistake) {
  const Stream stream = MakeStreamOrDie();
  std::vector<float> values(kThreads);
  for (int i = 0; i < kThreads; ++i) values[i] = static_cast<float>(i);
  const DeviceArray<float> in(values, stream), out(values, stream);
  const LaunchShape shape = {"SumTwice", 1, kThreads, sizeof(Sums), stream.get()};
  CHECK_EQ(Launch(shape, SumTwice, in.data(), out.data(), mistake), cudaSuccess);
  const float want = kThreads * (kThreads - 1) + kThreads;
  float right = 0;
  for (const float value : out.Download()) right += value == want;
  return right;
}

TEST(FakeGrid, RunsACorrectKernelInEverySchedule) {
  EXPECT_EQ(Right([] { return RunSumTwice(Mistake::kNone); }, kThreads), kSchedules);
}

TEST(FakeGrid, FindsAMissingBarrierAfterWriting) {
  EXPECT_EQ(Right([] { return RunSumTwice(Mistake::kNoBarrier); }, kThreads), 0);
}

TEST(FakeGrid, FindsAMissingBarrierBeforeOverwriting) {
  EXPECT_LT(Right([] { return RunSumTwice(Mistake::kNoLastBarrier); }, kThreads), kSchedules);
}

TEST(FakeGridDeath, ABarrierThatAThreadNeverReaches) {
  EXPECT_DEATH(RunSumTwice(Mistake::kDivergence),
               "kernel SumTwice, CTA .*barrier divergence|waits at .* which ended");
}

TEST(FakeGridDeath, ABarrierOnTwoLines) {
  EXPECT_DEATH(RunSumTwice(Mistake::kTwoLines), "barrier divergence: waits at grid_test.cu:");
}

enum class Call { kForgetsALane, kIsNotInItsMask, kDiffersInMask, kReadsOutside };

__global__ void MisuseAShuffle(float* out, Call call) {
  const int lane = static_cast<int>(threadIdx.x);
  float value = static_cast<float>(lane);
  switch (call) {
    case Call::kForgetsALane:
      if (lane == 7) return;
      value = __shfl_sync(0xffffffff, value, 0);
      break;
    case Call::kIsNotInItsMask:
      value = __shfl_sync(0x0000ffff, value, 0);
      break;
    case Call::kDiffersInMask:
      value = __shfl_sync(lane < 16 ? 0xffffffff : 0xffff0000, value, 16);
      break;
    case Call::kReadsOutside:
      if (lane < 16) value = __shfl_xor_sync(0x0000ffff, value, 16);
      break;
  }
  out[lane] = value;
}

void RunMisuse(Call call) {
  const Stream stream = MakeStreamOrDie();
  const DeviceArray<float> out(std::vector<float>(32), stream);
  CHECK_EQ(Launch({"MisuseAShuffle", 1, 32, 0, stream.get()}, MisuseAShuffle, out.data(), call),
           cudaSuccess);
  out.Download();
}

TEST(FakeGridDeath, ShufflesWhoseLanesDoNotAgree) {
  EXPECT_DEATH(RunMisuse(Call::kForgetsALane), "for lane 7, which ended");
  EXPECT_DEATH(RunMisuse(Call::kIsNotInItsMask), "not in the mask ffff");
  EXPECT_DEATH(RunMisuse(Call::kDiffersInMask), "waits at grid_test.cu:.* for lane");
  EXPECT_DEATH(RunMisuse(Call::kReadsOutside), "reads a lane outside of its mask");
}

__global__ void HalvesOfAWarp(uint32_t* out) {
  const unsigned lane = threadIdx.x;
  const uint32_t mask = lane < 16 ? 0x0000ffff : 0xffff0000;
  if (lane < 16) {
    out[lane] = __shfl_sync(mask, lane, 3) + (__ballot_sync(mask, lane % 2) << 8);
  } else {
    out[lane] = __shfl_xor_sync(mask, lane, 1) + (__any_sync(mask, lane == 15) << 8);
  }
}

TEST(FakeGrid, LetsTheHalvesOfAWarpGoTheirOwnWays) {
  const Stream stream = MakeStreamOrDie();
  const DeviceArray<uint32_t> device(std::vector<uint32_t>(32), stream);
  ASSERT_CUDA(Launch({"HalvesOfAWarp", 1, 32, 0, stream.get()}, HalvesOfAWarp, device.data()));
  const std::vector<uint32_t> out = device.Download();
  for (unsigned lane = 0; lane < 16; ++lane) EXPECT_EQ(out[lane], 3 + (0xaaaa << 8));
  for (unsigned lane = 16; lane < 32; ++lane) EXPECT_EQ(out[lane], lane ^ 1);
}

enum class Copy { kRight, kNoWait, kNoBarrier, kInFlight, kMisaligned, kPastShared, kFromHost };

struct Row {
  float4 values[32];
};

__global__ void CopyARow(const float4* in, float* out, Copy copy) {
  Row& shared = SharedMemory<Row>();
  const unsigned i = threadIdx.x;
  auto* to = reinterpret_cast<char*>(&shared.values[i]) + (copy == Copy::kMisaligned ? 8 : 0);
  if (copy == Copy::kPastShared) to += sizeof(Row);
  CopyAsync16(to, copy == Copy::kFromHost ? reinterpret_cast<const float4*>(to) : in + i);
  CopyAsyncCommit();
  if (copy == Copy::kInFlight) return;
  if (copy != Copy::kNoWait) CopyAsyncWait<0>();
  if (copy != Copy::kNoBarrier) __syncthreads();
  out[i] = shared.values[(i + 1) % 32].w;
  CopyAsyncWait<0>();
}

float RunCopy(Copy copy) {
  const Stream stream = MakeStreamOrDie();
  std::vector<float4> values(32);
  for (int i = 0; i < 32; ++i) values[i].w = static_cast<float>(i);
  const DeviceArray<float4> in(values, stream);
  const DeviceArray<float> out(std::vector<float>(32), stream);
  const LaunchShape shape = {"CopyARow", 1, 32, sizeof(Row), stream.get()};
  CHECK_EQ(Launch(shape, CopyARow, in.data(), out.data(), copy), cudaSuccess);
  const std::vector<float> result = out.Download();
  float right = 0;
  for (int i = 0; i < 32; ++i) right += result[i] == static_cast<float>((i + 1) % 32);
  return right;
}

TEST(FakeGrid, FindsAMissingWaitForAnAsynchronousCopy) {
  EXPECT_EQ(Right([] { return RunCopy(Copy::kRight); }, 32), kSchedules);
  EXPECT_LT(Right([] { return RunCopy(Copy::kNoWait); }, 32), kSchedules);
  EXPECT_LT(Right([] { return RunCopy(Copy::kNoBarrier); }, 32), kSchedules);
}

TEST(FakeGridDeath, AsynchronousCopiesThatCannotBe) {
  EXPECT_DEATH(RunCopy(Copy::kInFlight), "ends with asynchronous copies in flight");
  EXPECT_DEATH(RunCopy(Copy::kMisaligned), "not aligned to 16 bytes");
  EXPECT_DEATH(RunCopy(Copy::kPastShared), "past the CTA's shared memory");
  EXPECT_DEATH(RunCopy(Copy::kFromHost), "outside of device memory");
}

__global__ void ReadFreshShared(float* out) { out[threadIdx.x] = SharedMemory<Sums>().warp[0]; }

TEST(FakeGrid, SharedMemoryStartsAsNaN) {
  const Stream stream = MakeStreamOrDie();
  const DeviceArray<float> out(std::vector<float>(32), stream);
  ASSERT_CUDA(
      Launch({"ReadFreshShared", 1, 32, sizeof(Sums), stream.get()}, ReadFreshShared, out.data()));
  EXPECT_TRUE(std::isnan(out.Download()[9]));
}

struct Ticket {
  unsigned last;
};

// The last CTA to arrive adds up what all have written.
__global__ void LastOneAddsUp(float* partial, unsigned* arrived, float* sum, bool atomic) {
  Ticket& shared = SharedMemory<Ticket>();
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = static_cast<float>(blockIdx.x + 1);
    __threadfence();
    unsigned before = 0;
    if (atomic) {
      before = atomicAdd(arrived, 1U);
    } else {
      before = *arrived;
      __threadfence();
      *arrived = before + 1;
    }
    shared.last = before == gridDim.x - 1;
  }
  __syncthreads();
  if (shared.last == 0 || threadIdx.x != 0) return;
  float total = 0;
  for (unsigned i = 0; i < gridDim.x; ++i) total += partial[i];
  *sum = total;
}

float RunLastOne(bool atomic) {
  constexpr int kCtas = 40;
  const Stream stream = MakeStreamOrDie();
  const DeviceArray<float> partial(std::vector<float>(kCtas), stream);
  const DeviceArray<unsigned> arrived({0}, stream);
  const DeviceArray<float> sum({0}, stream);
  const LaunchShape shape = {"LastOneAddsUp", kCtas, 64, sizeof(Ticket), stream.get()};
  CHECK_EQ(Launch(shape, LastOneAddsUp, partial.data(), arrived.data(), sum.data(), atomic),
           cudaSuccess);
  return sum.Download()[0];
}

TEST(FakeGrid, CtasRunSideBySide) {
  EXPECT_EQ(Right([] { return RunLastOne(true); }, 820), kSchedules);
  EXPECT_LT(Right([] { return RunLastOne(false); }, 820), kSchedules / 2);
}

__global__ void WaitForTheOther(unsigned* flag) {
  if (threadIdx.x != 0) return;
  if (blockIdx.x == 0) {
    while (atomicCAS(flag, 1U, 1U) == 0) {
    }
  } else if (blockIdx.x == gridDim.x - 1) {
    atomicAdd(flag, 1U);
  }
}

TEST(FakeGridDeath, ACtaThatWaitsForAnother) {
  EXPECT_DEATH(
      {
        for (int seed = 1; seed <= kSchedules; ++seed) {
          fake_cuda::SetSeed(seed);
          const Stream stream = MakeStreamOrDie();
          const DeviceArray<unsigned> flag({0}, stream);
          static_cast<void>(
              Launch({"WaitForTheOther", 256, 32, 0, stream.get()}, WaitForTheOther, flag.data()));
          flag.Download();
        }
      },
      "kernel WaitForTheOther.*spins");
}

}  // namespace
}  // namespace pagoda::cuda
