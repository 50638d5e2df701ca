#include "tests/kernels/comm/communicator_suite.h"

#include <bit>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "common/random.h"
#include "tests/kernels/comm/ranks.h"

namespace pagoda::testing {
namespace {

// What a rank puts in, as a function of operation, rank and place.
float Value(uint64_t operation, int rank, size_t i) {
  if (i % 17 == 0) return -0.0f;
  uint64_t mixed =
      (operation * 1000003 + static_cast<uint64_t>(rank) * 7919 + i) * 0x9e3779b97f4a7c15;
  mixed ^= mixed >> 31;
  return static_cast<float>(static_cast<int32_t>(mixed)) * (i % 5 == 0 ? 1e6f : 1.1f);
}

std::byte Byte(uint64_t operation, int rank, size_t i) {
  return std::byte(operation * 31 + static_cast<uint64_t>(rank) * 101 + i * 7 + i / 251);
}

// The contract's tree over ranks [first, first + size).
float Tree(uint64_t operation, int first, int size, size_t i) {
  if (size == 1) return Value(operation, first, i);
  return Tree(operation, first, size / 2, i) + Tree(operation, first + size / 2, size / 2, i);
}

std::vector<uint32_t> Bits(const std::vector<float>& values) {
  std::vector<uint32_t> bits;
  for (const float value : values) bits.push_back(std::bit_cast<uint32_t>(value));
  return bits;
}

std::vector<std::byte> Bytes(uint64_t operation, int rank, size_t count) {
  std::vector<std::byte> bytes(count);
  for (size_t i = 0; i < count; ++i) bytes[i] = Byte(operation, rank, i);
  return bytes;
}

std::vector<std::byte> Concatenation(uint64_t operation, int size, size_t count) {
  std::vector<std::byte> all;
  for (int rank = 0; rank < size; ++rank) {
    const std::vector<std::byte> one = Bytes(operation, rank, count);
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

void CheckAllReduce(Communicator& comm, uint64_t operation, size_t count) {
  std::vector<float> data(count), want(count);
  for (size_t i = 0; i < count; ++i) {
    data[i] = Value(operation, comm.rank(), i);
    want[i] = Tree(operation, 0, comm.size(), i);
  }
  ASSERT_TRUE(comm.AllReduce(absl::MakeSpan(data)).ok());
  ASSERT_EQ(Bits(data), Bits(want)) << "rank " << comm.rank() << ", " << count << " values";
}

// Each word has one owner, by its place.
void CheckAllMerge(Communicator& comm, uint64_t operation, size_t count) {
  std::vector<uint32_t> words(count), want(count);
  for (size_t i = 0; i < count; ++i) {
    const int owner = static_cast<int>((i + operation) % comm.size());
    want[i] = std::bit_cast<uint32_t>(Value(operation, owner, i));
    if (owner == comm.rank()) words[i] = want[i];
  }
  ASSERT_TRUE(comm.AllMerge(absl::MakeSpan(words)).ok());
  ASSERT_EQ(words, want);
}

void CheckAllGather(Communicator& comm, uint64_t operation, size_t count) {
  std::vector<std::byte> all(count * comm.size());
  ASSERT_TRUE(comm.AllGather(Bytes(operation, comm.rank(), count), absl::MakeSpan(all)).ok());
  ASSERT_EQ(all, Concatenation(operation, comm.size(), count));
}

void CheckGather(Communicator& comm, uint64_t operation, size_t count) {
  const int root = static_cast<int>(operation % comm.size());
  std::vector<std::byte> all(comm.rank() == root ? count * comm.size() : 0);
  ASSERT_TRUE(comm.Gather(Bytes(operation, comm.rank(), count), absl::MakeSpan(all), root).ok());
  if (comm.rank() != root) return;
  ASSERT_EQ(all, Concatenation(operation, comm.size(), count));
}

void CheckBroadcast(Communicator& comm, uint64_t operation, size_t count) {
  const int root = static_cast<int>(operation % comm.size());
  std::vector<std::byte> data = Bytes(operation, comm.rank(), count);
  ASSERT_TRUE(comm.Broadcast(absl::MakeSpan(data), root).ok());
  ASSERT_EQ(data, Bytes(operation, root, count));
}

constexpr auto kChecks = {CheckAllReduce,
                          CheckAllMerge,
                          CheckAllGather,
                          CheckGather,
                          CheckBroadcast};

// Around borders of cache lines, of parts, and of what one exchange can carry.
TEST_P(CommunicatorTest, OperationsGiveTheirResultAtEverySize) {
  const auto ranks = Connect();
  const size_t largest = std::get<0>(GetParam()).largest / sizeof(float);
  RunRanks(ranks, [largest](Communicator& comm) {
    uint64_t operation = 0;
    for (const size_t count : {0, 1, 3, 16, 17, 255, 4096, 8191, 8192, 40000, 70000, 1100000}) {
      if (count > largest) break;
      for (const auto check : kChecks) check(comm, ++operation, count);
    }
  });
}

TEST_P(CommunicatorTest, AnyOrderOfOperationsKeepsThemApart) {
  const auto ranks = Connect();
  const uint64_t operations = std::get<0>(GetParam()).operations;
  RunRanks(ranks, [operations](Communicator& comm) {
    Random order(42);              // the same for all ranks
    Random pace(comm.rank() + 1);  // its own
    for (uint64_t operation = 1; operation <= operations; ++operation) {
      const auto check = kChecks.begin()[order.Below(kChecks.size())];
      check(comm, operation, order.Below(3000));
      for (uint64_t i = pace.Below(3); i > 0; --i) std::this_thread::yield();
    }
  });
}

TEST_P(CommunicatorTest, SameSumWholeAndByParts) {
  const auto ranks = Connect();
  std::vector<std::vector<float>> sums(ranks.size());
  RunRanks(ranks, [&sums](Communicator& comm) {
    constexpr size_t kLong = 70000;
    std::vector<float> data(kLong);
    for (size_t i = 0; i < kLong; ++i) data[i] = Value(1, comm.rank(), i);
    std::vector<float> in_pieces = data;
    ASSERT_TRUE(comm.AllReduce(absl::MakeSpan(data)).ok());
    for (size_t i = 0; i < kLong; i += 7000) {
      ASSERT_TRUE(comm.AllReduce(absl::MakeSpan(in_pieces).subspan(i, 7000)).ok());
    }
    EXPECT_EQ(Bits(data), Bits(in_pieces));
    sums[comm.rank()] = data;
  });
  for (const auto& sum : sums) EXPECT_EQ(Bits(sum), Bits(sums[0]));
}

TEST_P(CommunicatorTest, ARankThatDoesNotComeIsNoticedAtTheDeadline) {
  const auto ranks = Connect();
  const int absent = ranks.back()->rank();
  RunRanks(ranks, [absent](Communicator& comm) {
    if (comm.rank() == absent) return;
    comm.SetDeadline(RealClock()->Now() + absl::Milliseconds(100));
    float value = 1;
    const absl::Status status = comm.AllReduce(absl::MakeSpan(&value, 1));
    // The first rank whose time is over ends it for the others.
    EXPECT_TRUE(absl::IsDeadlineExceeded(status) || absl::IsUnavailable(status)) << status;
    if (comm.size() == 2) {
      EXPECT_EQ(status.message(), "rank 1 did not come in time");
      EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
    }
    EXPECT_FALSE(comm.AllReduce(absl::MakeSpan(&value, 1)).ok());
  });
}

TEST_P(CommunicatorTest, AbortWakesAWaitingRank) {
  const auto ranks = Connect();
  std::promise<void> begins;
  std::thread waiter([&] {
    float value = 1;
    begins.set_value();
    EXPECT_EQ(ranks[0]->AllReduce(absl::MakeSpan(&value, 1)).code(), absl::StatusCode::kCancelled);
    EXPECT_EQ(ranks[0]->AllReduce(absl::MakeSpan(&value, 1)).code(), absl::StatusCode::kCancelled);
  });
  begins.get_future().wait();
  ranks[0]->Abort();
  waiter.join();
  ranks[0]->Abort();
}

TEST_P(PeersEndTest, ARankThatEndsEndsTheOthers) {
  auto ranks = Connect();
  ranks.back().reset();
  ranks.pop_back();
  RunRanks(ranks, [](Communicator& comm) {
    comm.SetDeadline(RealClock()->Now() + absl::Seconds(60));
    float value = 1;
    EXPECT_EQ(comm.AllReduce(absl::MakeSpan(&value, 1)).code(), absl::StatusCode::kUnavailable);
  });
}

}  // namespace

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(PeersEndTest);

}  // namespace pagoda::testing
