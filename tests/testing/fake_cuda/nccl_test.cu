// The fake NCCL between threads and between processes.
#include <gtest/gtest.h>
#include <nccl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "kernels/cuda/launch.h"
#include "tests/kernels/cuda/device_array.h"
#include "tests/testing/fake_cuda/runtime.h"

namespace pagoda::cuda {
namespace {

class Rank {
 public:
  Rank(const ncclUniqueId& id, int rank, int ranks) : stream_(MakeStreamOrDie()) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    CHECK_EQ(ncclCommInitRankConfig(&comm_, ranks, id, rank, &config), ncclInProgress);
  }
  ~Rank() {
    if (comm_ != nullptr) ncclCommAbort(comm_);
  }

  ncclResult_t State() {
    ncclResult_t error = ncclSuccess;
    CHECK_EQ(ncclCommGetAsyncError(comm_, &error), ncclSuccess);
    return error;
  }
  ncclResult_t Connect() {
    ncclResult_t state = State();
    while (state == ncclInProgress) {
      std::this_thread::yield();
      state = State();
    }
    return state;
  }
  void Abort() {
    ncclCommAbort(comm_);
    comm_ = nullptr;
  }

  ncclComm_t comm() { return comm_; }
  const Stream& stream() const { return stream_; }

 private:
  const Stream stream_;
  ncclComm_t comm_ = nullptr;
};

ncclUniqueId NewId() {
  ncclUniqueId id;
  CHECK_EQ(ncclGetUniqueId(&id), ncclSuccess);
  return id;
}

// body(rank) of every rank, each in a thread of its own.
void InThreads(int ranks, const std::function<void(Rank&, int)>& body) {
  fake_cuda::device_count = ranks;
  const ncclUniqueId id = NewId();
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      ASSERT_CUDA(cudaSetDevice(rank));
      Rank mine(id, rank, ranks);
      ASSERT_EQ(mine.Connect(), ncclSuccess);
      body(mine, rank);
    });
  }
  for (std::thread& thread : threads) thread.join();
  fake_cuda::device_count = 1;
}

__global__ void Add(int* p, int value) {
  if (threadIdx.x == 0) *p += value;
}

// What rank `rank` of `ranks` gathers: everybody's rank + 10, put there by a kernel before it.
std::vector<int> Gather(Rank& mine, int rank, int ranks) {
  const DeviceArray<int> own({rank}, mine.stream()),
      all(std::vector<int>(ranks, -1), mine.stream());
  CHECK_EQ(Launch({"Add", 1, 32, 0, mine.stream().get()}, Add, own.data(), 10), cudaSuccess);
  CHECK_EQ(ncclAllGather(own.data(), all.data(), 1, ncclInt32, mine.comm(), mine.stream().get()),
           ncclSuccess);
  CHECK_EQ(Launch({"Add", 1, 32, 0, mine.stream().get()}, Add, own.data(), 100), cudaSuccess);
  return all.Download();
}

TEST(FakeNccl, GathersInTheOrderOfTheStream) {
  for (int seed = 1; seed <= 10; ++seed) {
    fake_cuda::SetSeed(seed);
    InThreads(4, [](Rank& mine, int rank) {
      for (int round = 0; round < 3; ++round) {
        EXPECT_EQ(Gather(mine, rank, 4), std::vector<int>({10, 11, 12, 13}));
      }
    });
  }
}

// Each rank sends a large part to each other and to itself, all at once: none may wait for another.
TEST(FakeNccl, AGroupOfMessagesIsOneOperation) {
  constexpr int kRanks = 3, kCount = 200'000;
  InThreads(kRanks, [](Rank& mine, int rank) {
    const DeviceArray<int> out(std::vector<int>(kCount, rank), mine.stream());
    const DeviceArray<int> in(std::vector<int>(kRanks * kCount), mine.stream());
    ASSERT_EQ(ncclGroupStart(), ncclSuccess);
    for (int peer = 0; peer < kRanks; ++peer) {
      const cudaStream_t stream = mine.stream().get();
      ASSERT_EQ(ncclSend(out.data(), kCount, ncclInt32, peer, mine.comm(), stream), ncclSuccess);
      ASSERT_EQ(ncclRecv(in.data() + peer * kCount, kCount, ncclInt32, peer, mine.comm(), stream),
                ncclSuccess);
    }
    ASSERT_EQ(ncclGroupEnd(), ncclSuccess);
    const std::vector<int> got = in.Download();
    for (int i = 0; i < kRanks * kCount; ++i) ASSERT_EQ(got[i], i / kCount);
  });
}

TEST(FakeNccl, ACaptureCanHoldIt) {
  InThreads(1, [](Rank& mine, int) {
    const DeviceArray<int> own({5}, mine.stream()), all({0}, mine.stream());
    const cudaStream_t stream = mine.stream().get();
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    ASSERT_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    ASSERT_EQ(ncclAllGather(own.data(), all.data(), 1, ncclInt32, mine.comm(), stream),
              ncclSuccess);
    ASSERT_CUDA(Launch({"Add", 1, 32, 0, stream}, Add, own.data(), 1));
    ASSERT_CUDA(cudaStreamEndCapture(stream, &graph));
    ASSERT_CUDA(cudaGraphInstantiate(&exec, graph));
    for (const int want : {5, 6, 7}) {
      ASSERT_CUDA(cudaGraphLaunch(exec, stream));
      EXPECT_EQ(all.Download(), std::vector<int>({want}));
    }
    ASSERT_CUDA(cudaGraphExecDestroy(exec));
    ASSERT_CUDA(cudaGraphDestroy(graph));
  });
}

TEST(FakeNccl, OperationsThatDoNotMatchAreAnErrorOfTheCommunicator) {
  std::atomic<int> errors = 0;
  InThreads(2, [&](Rank& mine, int rank) {
    const DeviceArray<int> data(std::vector<int>(8), mine.stream());
    const cudaStream_t stream = mine.stream().get();
    if (rank == 0) {
      ASSERT_EQ(ncclAllGather(data.data(), data.data(), 4, ncclInt32, mine.comm(), stream),
                ncclSuccess);
    } else {
      ASSERT_EQ(ncclAllGather(data.data(), data.data(), 3, ncclInt32, mine.comm(), stream),
                ncclSuccess);
    }
    std::thread waits([&] { cudaStreamSynchronize(stream); });
    while (mine.State() == ncclSuccess) std::this_thread::yield();
    errors += mine.State() == ncclInvalidUsage;
    EXPECT_NE(std::string(ncclGetLastError(mine.comm())).find("bytes (type 2, collective 1)"),
              std::string::npos);
    mine.Abort();
    waits.join();
  });
  EXPECT_EQ(errors, 2);
}

TEST(FakeNccl, AnAbortEndsTheWaitForAPeerThatNeverComes) {
  InThreads(2, [](Rank& mine, int rank) {
    if (rank == 1) return;
    const DeviceArray<int> data({1}, mine.stream());
    ASSERT_EQ(ncclRecv(data.data(), 1, ncclInt32, 1, mine.comm(), mine.stream().get()),
              ncclSuccess);
    std::thread waits([&] { EXPECT_EQ(cudaStreamSynchronize(mine.stream().get()), cudaSuccess); });
    mine.Abort();
    waits.join();
    EXPECT_EQ(data.Download(), std::vector<int>({1}));  // nothing came, and the stream goes on
  });
}

TEST(FakeNccl, RefusesArgumentsThatCannotBe) {
  InThreads(1, [](Rank& mine, int) {
    const DeviceArray<int> data({1}, mine.stream());
    const cudaStream_t stream = mine.stream().get();
    int host = 0;
    EXPECT_EQ(ncclSend(data.data(), 1, ncclInt32, 1, mine.comm(), stream), ncclInvalidArgument);
    EXPECT_EQ(ncclSend(data.data(), 2, ncclInt32, 0, mine.comm(), stream), ncclInvalidArgument);
    EXPECT_EQ(ncclRecv(&host, 1, ncclInt32, 0, mine.comm(), stream), ncclInvalidArgument);
    EXPECT_EQ(ncclGroupEnd(), ncclInvalidUsage);
  });
}

// A child process is rank 1; `kill_it` ends it before it does its part.
int RunTwoProcesses(bool kill_it) {
  const ncclUniqueId id = NewId();
  const pid_t child = fork();
  if (child == 0) {
    Rank mine(id, 1, 2);
    if (mine.Connect() != ncclSuccess) _exit(1);
    if (kill_it) raise(SIGKILL);
    _exit(Gather(mine, 1, 2) == std::vector<int>({10, 11}) ? 0 : 2);
  }
  Rank mine(id, 0, 2);
  EXPECT_EQ(mine.Connect(), ncclSuccess);
  int status = 0;
  if (kill_it) {
    waitpid(child, &status, 0);
    const DeviceArray<int> data({0}, mine.stream());
    EXPECT_EQ(ncclRecv(data.data(), 1, ncclInt32, 1, mine.comm(), mine.stream().get()),
              ncclSuccess);
    EXPECT_EQ(mine.State(), ncclSuccess);  // nobody tells it
    mine.Abort();
    EXPECT_EQ(cudaStreamSynchronize(mine.stream().get()), cudaSuccess);
  } else {
    EXPECT_EQ(Gather(mine, 0, 2), std::vector<int>({10, 11}));
    waitpid(child, &status, 0);
  }
  return status;
}

TEST(FakeNccl, RanksAreProcesses) { EXPECT_EQ(RunTwoProcesses(false), 0); }

TEST(FakeNccl, ADeadPeerIsNoticedByNobodyUntilTheAbort) {
  const int status = RunTwoProcesses(true);
  EXPECT_TRUE(WIFSIGNALED(status));
}

}  // namespace
}  // namespace pagoda::cuda
