// Ranks on devices: the suite of the host's communicators over NCCL and through the host, and what
// is NCCL's own.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/check.h"
#include "common/clock.h"
#include "kernels/cuda/cuda_rendezvous.h"
#include "kernels/cuda/device_info.h"
#include "kernels/cuda/nccl_communicator.h"
#include "tests/kernels/comm/communicator_suite.h"
#include "tests/kernels/cuda/device_array.h"

namespace pagoda::cuda {
namespace {

constexpr size_t kLargest = 70'000 * sizeof(float);  // more than goes in one piece
constexpr size_t kMaxBytes = 8 * kLargest;           // gathered from 8 ranks

// A rank on a device whose data the test has on the host: it is brought there, the operation is
// queued and waited for, and the result fetched.
class OnDevice final : public Communicator {
 public:
  OnDevice(int device, Stream stream) : device_(device), stream_(std::move(stream)) {}
  ~OnDevice() override { Use(); }

  void Own(std::unique_ptr<Communicator> comm) { comm_ = std::move(comm); }
  const Stream& stream() const { return stream_; }

  int rank() const override { return comm_->rank(); }
  int size() const override { return comm_->size(); }
  absl::Status status() const override { return comm_->status(); }
  void SetDeadline(absl::Time deadline) override { comm_->SetDeadline(deadline); }
  void Abort() override { comm_->Abort(); }

  absl::Status AllReduce(absl::Span<float> data) override {
    return InPlace(data, [&](absl::Span<float> there) { return comm_->AllReduce(there); });
  }
  absl::Status AllMerge(absl::Span<uint32_t> words) override {
    return InPlace(words, [&](absl::Span<uint32_t> there) { return comm_->AllMerge(there); });
  }
  absl::Status Broadcast(absl::Span<std::byte> data, int root) override {
    return InPlace(data,
                   [&](absl::Span<std::byte> there) { return comm_->Broadcast(there, root); });
  }
  absl::Status AllGather(absl::Span<const std::byte> mine, absl::Span<std::byte> all) override {
    return Collect(mine, all, [&](auto from, auto to) { return comm_->AllGather(from, to); });
  }
  absl::Status Gather(absl::Span<const std::byte> mine,
                      absl::Span<std::byte> all,
                      int root) override {
    return Collect(mine, all, [&](auto from, auto to) { return comm_->Gather(from, to, root); });
  }

 private:
  void Use() const { CHECK_EQ(cudaSetDevice(device_), cudaSuccess); }

  absl::Status Finish(absl::Status queued) {
    CHECK_EQ(cudaStreamSynchronize(stream_.get()), cudaSuccess);
    return queued.ok() ? comm_->status() : queued;
  }

  template <class T, class Fn>
  absl::Status InPlace(absl::Span<T> data, Fn operation) {
    Use();
    const DeviceArray<T> there(std::vector<T>(data.begin(), data.end()), stream_);
    const absl::Status status = Finish(operation(absl::MakeSpan(there.data(), data.size())));
    if (!status.ok()) return status;
    const std::vector<T> result = there.Download();
    std::copy(result.begin(), result.end(), data.begin());
    return status;
  }

  template <class Fn>
  absl::Status Collect(absl::Span<const std::byte> mine, absl::Span<std::byte> all, Fn operation) {
    Use();
    const DeviceArray<std::byte> from(std::vector<std::byte>(mine.begin(), mine.end()), stream_);
    const DeviceArray<std::byte> to(std::vector<std::byte>(all.size()), stream_);
    const absl::Status status = Finish(operation(absl::MakeConstSpan(from.data(), mine.size()),
                                                 absl::MakeSpan(to.data(), all.size())));
    if (!status.ok()) return status;
    const std::vector<std::byte> result = to.Download();
    std::copy(result.begin(), result.end(), all.begin());
    return status;
  }

  const int device_;
  const Stream stream_;
  std::unique_ptr<Communicator> comm_;
};

struct Group {
  std::vector<std::unique_ptr<OnDevice>> ranks;
  std::vector<absl::Status> connected;  // by rank
};

// NCCL takes one rank per device.
std::vector<int> NcclSizes() {
  std::vector<int> sizes;
  for (int size = 2; size <= std::min(NumDevices().value(), 8); size *= 2) sizes.push_back(size);
  return sizes;
}

// Ranks that take the devices in turn, by both phases of a rendezvous; `change` may spoil the
// endpoints.
Group Meet(
    int size,
    CommBackend backend,
    uint64_t epoch = 7,
    const std::function<void(std::vector<std::string>*)>& change = [](auto*) {}) {
  const int devices = NumDevices().value();
  Group group;
  std::vector<std::unique_ptr<Rendezvous>> rendezvous;
  std::vector<std::string> endpoints;
  for (int rank = 0; rank < size; ++rank) {
    const int device = rank % devices;
    CHECK_EQ(cudaSetDevice(device), cudaSuccess);
    group.ranks.push_back(std::make_unique<OnDevice>(device, MakeStreamOrDie()));
    auto opened = OpenCudaRendezvous(
        {.rank = rank, .size = size, .epoch = epoch, .backend = backend, .interface = "lo"},
        device,
        group.ranks.back()->stream().get(),
        kMaxBytes);
    CHECK_OK(opened.status());
    rendezvous.push_back(*std::move(opened));
    endpoints.push_back(rendezvous.back()->endpoint());
  }
  change(&endpoints);
  group.connected.resize(size);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      auto comm = rendezvous[rank]->Connect(endpoints);
      group.connected[rank] = comm.status();
      if (comm.ok()) group.ranks[rank]->Own(*std::move(comm));
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(cudaSetDevice(0), cudaSuccess);
  return group;
}

template <CommBackend kBackend>
pagoda::testing::CommWay OnDevices() {
  const auto connect = [](int size) {
    Group group = Meet(size, kBackend);
    std::vector<std::unique_ptr<Communicator>> ranks;
    for (int rank = 0; rank < size; ++rank) {
      CHECK_OK(group.connected[rank]);
      ranks.push_back(std::move(group.ranks[rank]));
    }
    return ranks;
  };
  return {.connect = connect, .largest = kLargest, .operations = 50};
}

}  // namespace
}  // namespace pagoda::cuda

namespace pagoda::testing {

INSTANTIATE_TEST_SUITE_P(
    Nccl,
    CommunicatorTest,
    ::testing::Combine(::testing::Values(cuda::OnDevices<CommBackend::kNccl>()),
                       ::testing::ValuesIn(cuda::NcclSizes())),
    Ranks);
INSTANTIATE_TEST_SUITE_P(
    Staged,
    CommunicatorTest,
    ::testing::Combine(::testing::Values(cuda::OnDevices<CommBackend::kLocal>()),
                       ::testing::Values(2, 4)),
    Ranks);
INSTANTIATE_TEST_SUITE_P(
    Staged,
    PeersEndTest,
    ::testing::Combine(::testing::Values(cuda::OnDevices<CommBackend::kLocal>()),
                       ::testing::Values(2, 4)),
    Ranks);

}  // namespace pagoda::testing

namespace pagoda::cuda {
namespace {

TEST(NcclRendezvous, RefusesEndpointsOfOthers) {
  for (const char* other : {"",
                            "pagoda-comm-1 6 0 2 nccl 00",
                            "pagoda-comm-1 7 0 2 nccl 00",
                            "pagoda-comm-1 7 0 2 host segment -"}) {
    const Group group = Meet(2, CommBackend::kAuto, 7, [other](std::vector<std::string>* all) {
      (*all)[0] = other;
    });
    for (const absl::Status& status : group.connected) {
      EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    }
  }
}

TEST(NcclRendezvous, GivesUpOnARankThatDoesNotCome) {
  const Stream stream = MakeStreamOrDie();
  const auto id = NewNcclId();
  ASSERT_TRUE(id.ok());
  const auto comm = ConnectNccl(*id,
                                {.rank = 0,
                                 .size = 2,
                                 .stream = stream.get(),
                                 .max_bytes = 1024,
                                 .connect_timeout = absl::Milliseconds(50),
                                 .abort_timeout = absl::Seconds(60)});
  EXPECT_EQ(comm.status().code(), absl::StatusCode::kDeadlineExceeded) << comm.status();
}

TEST(NcclRendezvous, HasNoUseForRanksThatAreNone) {
  const Stream stream = MakeStreamOrDie();
  EXPECT_EQ(OpenCudaRendezvous({.rank = 3, .size = 2}, 0, stream.get(), 1).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(OpenCudaRendezvous({.backend = CommBackend::kNccl}, 0, stream.get(), 1).ok());
}

// After an abort the device is as it was but for what the operation should have written.
TEST(Nccl, TheStreamAndItsMemoryOutliveALostPeer) {
  if (NumDevices().value() < 2) GTEST_SKIP() << "needs 2 devices";
  Group group = Meet(2, CommBackend::kNccl);
  const Stream& stream = group.ranks[0]->stream();
  const DeviceArray<float> weights({1, 2, 3}, stream);
  group.ranks[0]->SetDeadline(RealClock()->Now() + absl::Milliseconds(50));
  float value = 1;
  EXPECT_EQ(group.ranks[0]->AllReduce(absl::MakeSpan(&value, 1)).code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(weights.Download(), std::vector<float>({1, 2, 3}));
  group.ranks.clear();
  // And the next epoch may begin.
  const Group next = Meet(2, CommBackend::kNccl, 8);
  std::thread other([&] {
    float one = 1;
    EXPECT_TRUE(next.ranks[1]->AllReduce(absl::MakeSpan(&one, 1)).ok());
  });
  EXPECT_TRUE(next.ranks[0]->AllReduce(absl::MakeSpan(&value, 1)).ok());
  other.join();
  EXPECT_EQ(value, 2);
}

TEST(Nccl, ADeadlineOverFinishedWorkIsNone) {
  if (NumDevices().value() < 2) GTEST_SKIP() << "needs 2 devices";
  const Group group = Meet(2, CommBackend::kNccl);
  std::vector<float> values = {1, 1};
  for (int round = 0; round < 2; ++round) {
    std::vector<std::thread> threads;
    for (int rank = 0; rank < 2; ++rank) {
      threads.emplace_back([&, rank] {
        EXPECT_TRUE(group.ranks[rank]->AllReduce(absl::MakeSpan(&values[rank], 1)).ok());
        if (round == 1) return;
        const absl::Time past = RealClock()->Now() + absl::Milliseconds(1);
        group.ranks[rank]->SetDeadline(past);
        while (RealClock()->Now() < past + absl::Milliseconds(150)) std::this_thread::yield();
        EXPECT_TRUE(group.ranks[rank]->status().ok());
        group.ranks[rank]->SetDeadline(absl::InfiniteFuture());
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  EXPECT_EQ(values, std::vector<float>({4, 4}));
}

TEST(Nccl, OneRankIsAGroup) {
  const Stream stream = MakeStreamOrDie();
  const auto comm =
      ConnectNccl(*NewNcclId(),
                  {.rank = 0, .size = 1, .stream = stream.get(), .max_bytes = kLargest});
  ASSERT_TRUE(comm.ok()) << comm.status();
  for (const size_t count : {size_t{3}, kLargest / sizeof(float)}) {
    std::vector<float> values(count);
    for (size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i) / 3;
    const DeviceArray<float> mine(values, stream), all(std::vector<float>(count), stream);
    const size_t bytes = count * sizeof(float);
    const absl::Span<std::byte> from(reinterpret_cast<std::byte*>(mine.data()), bytes);
    const absl::Span<std::byte> to(reinterpret_cast<std::byte*>(all.data()), bytes);
    EXPECT_TRUE((*comm)->AllReduce(absl::MakeSpan(mine.data(), count)).ok());
    EXPECT_TRUE((*comm)->Broadcast(from, 0).ok());
    EXPECT_TRUE((*comm)->AllGather(from, to).ok());
    EXPECT_EQ(mine.Download(), values);
    EXPECT_EQ(all.Download(), values);
  }
  EXPECT_TRUE((*comm)->status().ok());
}

}  // namespace
}  // namespace pagoda::cuda
