// Streams, events and graphs of the fake device: what must be in order is, and what need not be is
// not, in some of 20 schedules.
#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/resources.h"
#include "tests/kernels/cuda/device_array.h"
#include "tests/testing/fake_cuda/runtime.h"

namespace pagoda::cuda {
namespace {

constexpr int kSchedules = 20;

__global__ void Set(int* p, int value) {
  if (threadIdx.x == 0) *p = value;
}

// out = out * 10 + *p
__global__ void Append(const int* p, int* out) {
  if (threadIdx.x == 0) *out = *out * 10 + *p;
}

class FakeStream : public ::testing::Test {
 protected:
  FakeStream() {
    auto event = MakeEvent();
    CHECK_OK(event);
    event_ = *std::move(event);
  }

  void LaunchSet(const Stream& stream, int value) {
    ASSERT_CUDA(Launch({"Set", 1, 32, 0, stream.get()}, Set, p_.data(), value));
  }
  void LaunchAppend(const Stream& stream) {
    ASSERT_CUDA(Launch({"Append", 1, 32, 0, stream.get()}, Append, p_.data(), out_.data()));
  }
  void Join(const Stream& before, const Stream& after) {
    ASSERT_CUDA(cudaEventRecord(event_.get(), before.get()));
    ASSERT_CUDA(cudaStreamWaitEvent(after.get(), event_.get()));
  }
  int Out() {
    cudaDeviceSynchronize();
    return out_.Download()[0];
  }

  // What `run` leaves in all schedules.
  template <class Fn>
  std::set<int> Outcomes(Fn run) {
    std::set<int> outcomes;
    for (int seed = 1; seed <= kSchedules; ++seed) {
      cudaDeviceSynchronize();
      fake_cuda::SetSeed(seed);
      EXPECT_EQ(cudaMemsetAsync(out_.data(), 0, sizeof(int), a_.get()), cudaSuccess);
      EXPECT_EQ(cudaMemsetAsync(p_.data(), 0, sizeof(int), a_.get()), cudaSuccess);
      cudaDeviceSynchronize();
      run();
      outcomes.insert(Out());
    }
    return outcomes;
  }

  const Stream a_ = MakeStreamOrDie(), b_ = MakeStreamOrDie();
  const DeviceArray<int> p_{{0}, a_}, out_{{0}, a_};
  Event event_;
};

TEST_F(FakeStream, OneStreamIsInOrder) {
  EXPECT_EQ(Outcomes([&] {
              for (int i = 1; i <= 4; ++i) {
                LaunchSet(a_, i);
                LaunchAppend(a_);
              }
            }),
            std::set<int>({1234}));
}

TEST_F(FakeStream, TwoStreamsAreInNoOrder) {
  EXPECT_EQ(Outcomes([&] {
              LaunchSet(a_, 1);
              LaunchAppend(b_);
            }),
            std::set<int>({0, 1}));
}

TEST_F(FakeStream, AnEventOrdersTwoStreams) {
  EXPECT_EQ(Outcomes([&] {
              LaunchSet(a_, 1);
              Join(a_, b_);
              LaunchAppend(b_);
            }),
            std::set<int>({1}));
}

TEST_F(FakeStream, AWaitIsForTheLatestRecordBeforeIt) {
  EXPECT_EQ(Outcomes([&] {
              LaunchSet(a_, 1);
              ASSERT_CUDA(cudaEventRecord(event_.get(), a_.get()));
              LaunchSet(a_, 2);
              ASSERT_CUDA(cudaStreamWaitEvent(b_.get(), event_.get()));
              ASSERT_CUDA(cudaEventRecord(event_.get(), a_.get()));
              LaunchAppend(b_);
            }),
            std::set<int>({1, 2}));
}

TEST_F(FakeStream, ACopyReadsPageLockedMemoryWhenItComesToIt) {
  auto pinned = PinnedBuffer::Make(sizeof(int));
  ASSERT_TRUE(pinned.ok());
  int* const value = pinned->data<int>();
  EXPECT_EQ(
      Outcomes([&] {
        *value = 7;
        ASSERT_CUDA(
            cudaMemcpyAsync(out_.data(), value, sizeof(int), cudaMemcpyHostToDevice, a_.get()));
        *value = 8;  // too early: the copy may not have been made
      }),
      std::set<int>({7, 8}));
}

TEST_F(FakeStream, AResultIsThereAfterTheWaitOnly) {
  std::set<int> seen;
  EXPECT_EQ(Outcomes([&] {
              int host = 0;
              LaunchSet(a_, 5);
              ASSERT_CUDA(
                  cudaMemcpyAsync(&host, p_.data(), sizeof(int), cudaMemcpyDeviceToHost, a_.get()));
              ASSERT_CUDA(cudaEventRecord(event_.get(), a_.get()));
              seen.insert(host);
              const bool is_done = cudaEventQuery(event_.get()) == cudaSuccess;
              EXPECT_TRUE(host == 5 || !is_done);
              ASSERT_CUDA(cudaEventSynchronize(event_.get()));
              EXPECT_EQ(host, 5);
            }),
            std::set<int>({0}));
  EXPECT_EQ(seen, std::set<int>({0, 5}));
}

TEST_F(FakeStream, EventsWithAClockTellTheTimeBetweenThem) {
  cudaEvent_t begin = nullptr, end = nullptr;
  ASSERT_CUDA(cudaEventCreateWithFlags(&begin, cudaEventDefault));
  ASSERT_CUDA(cudaEventCreateWithFlags(&end, cudaEventDefault));
  float forth = 0, back = 0;
  EXPECT_EQ(cudaEventElapsedTime(&forth, begin, end), cudaErrorInvalidResourceHandle);
  ASSERT_CUDA(cudaEventRecord(begin, a_.get()));
  LaunchSet(a_, 1);
  ASSERT_CUDA(cudaEventRecord(end, a_.get()));
  ASSERT_CUDA(cudaEventSynchronize(end));
  ASSERT_CUDA(cudaEventElapsedTime(&forth, begin, end));
  ASSERT_CUDA(cudaEventElapsedTime(&back, end, begin));
  EXPECT_GT(forth, 0);
  EXPECT_EQ(back, -forth);
  ASSERT_CUDA(cudaEventRecord(event_.get(), a_.get()));  // has none
  ASSERT_CUDA(cudaEventSynchronize(event_.get()));
  EXPECT_EQ(cudaEventElapsedTime(&forth, begin, event_.get()), cudaErrorInvalidResourceHandle);
  std::set<cudaError_t> early;
  for (int seed = 1; seed <= kSchedules; ++seed) {
    ASSERT_CUDA(cudaDeviceSynchronize());
    fake_cuda::SetSeed(seed);
    ASSERT_CUDA(cudaEventRecord(end, a_.get()));
    early.insert(cudaEventElapsedTime(&forth, begin, end));
  }
  EXPECT_EQ(early, std::set<cudaError_t>({cudaSuccess, cudaErrorNotReady}));
  ASSERT_CUDA(cudaEventDestroy(begin));
  ASSERT_CUDA(cudaEventDestroy(end));
}

using FakeGraph = FakeStream;

// a: set 1 ───────────── append ── end
//         └ b: set 2 ┘            (a and b touch p one after the other)
TEST_F(FakeGraph, AReplayEqualsTheEagerRun) {
  const auto work = [&] {
    LaunchSet(a_, 1);
    LaunchAppend(a_);
    Join(a_, b_);
    LaunchSet(b_, 2);
    Join(b_, a_);
    LaunchAppend(a_);
  };
  EXPECT_EQ(Outcomes(work), std::set<int>({12}));
  cudaGraph_t graph = nullptr;
  ASSERT_CUDA(cudaStreamBeginCapture(a_.get(), cudaStreamCaptureModeGlobal));
  work();
  ASSERT_CUDA(cudaStreamEndCapture(a_.get(), &graph));
  EXPECT_EQ(Out(), 12);  // nothing ran
  cudaGraphExec_t exec = nullptr;
  ASSERT_CUDA(cudaGraphInstantiate(&exec, graph));
  ASSERT_CUDA(cudaGraphDestroy(graph));
  EXPECT_EQ(Outcomes([&] {
              ASSERT_CUDA(cudaGraphLaunch(exec, a_.get()));
              ASSERT_CUDA(cudaGraphLaunch(exec, a_.get()));
            }),
            std::set<int>({1212}));
  ASSERT_CUDA(cudaGraphExecDestroy(exec));
}

TEST_F(FakeGraph, BranchesRunInAnyOrder) {
  cudaGraph_t graph = nullptr;
  ASSERT_CUDA(cudaStreamBeginCapture(a_.get(), cudaStreamCaptureModeGlobal));
  Join(a_, b_);
  LaunchSet(a_, 1);
  LaunchAppend(b_);
  Join(b_, a_);
  ASSERT_CUDA(cudaStreamEndCapture(a_.get(), &graph));
  cudaGraphExec_t exec = nullptr;
  ASSERT_CUDA(cudaGraphInstantiate(&exec, graph));
  EXPECT_EQ(Outcomes([&] { ASSERT_CUDA(cudaGraphLaunch(exec, a_.get())); }), std::set<int>({0, 1}));
  ASSERT_CUDA(cudaGraphExecDestroy(exec));
  ASSERT_CUDA(cudaGraphDestroy(graph));
}

TEST_F(FakeGraph, ACaptureRefusesWhatItCannotHold) {
  cudaGraph_t graph = nullptr;
  const auto begin = [&] {
    ASSERT_CUDA(cudaStreamBeginCapture(a_.get(), cudaStreamCaptureModeGlobal));
  };
  void* p = nullptr;
  const std::vector<std::function<cudaError_t()>> forbidden = {
      [&] { return cudaMalloc(&p, 4); },
      [&] { return cudaFree(nullptr); },
      [&] { return cudaHostAlloc(&p, 4, cudaHostAllocDefault); },
      [&] { return cudaStreamSynchronize(b_.get()); },
      [&] { return cudaDeviceSynchronize(); },
      [&] { return cudaEventSynchronize(event_.get()); },
      [&] { return cudaEventQuery(event_.get()); },
  };
  for (size_t i = 0; i < forbidden.size(); ++i) {
    begin();
    EXPECT_EQ(forbidden[i](), cudaErrorStreamCaptureUnsupported) << i;
    EXPECT_EQ(cudaStreamEndCapture(a_.get(), &graph), cudaErrorStreamCaptureInvalidated) << i;
    EXPECT_EQ(graph, nullptr);
  }
  ASSERT_CUDA(cudaEventRecord(event_.get(), b_.get()));
  begin();
  EXPECT_EQ(cudaStreamWaitEvent(a_.get(), event_.get()), cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(cudaStreamEndCapture(a_.get(), &graph), cudaErrorStreamCaptureInvalidated);
  begin();
  Join(a_, b_);
  LaunchSet(b_, 1);
  EXPECT_EQ(cudaStreamEndCapture(a_.get(), &graph), cudaErrorStreamCaptureUnjoined);
  LaunchSet(b_, 3);  // the stream is as before
  LaunchAppend(b_);
  EXPECT_EQ(Out(), 3);
}

}  // namespace
}  // namespace pagoda::cuda
