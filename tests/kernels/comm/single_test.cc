#include "kernels/comm/single.h"

#include <vector>

#include "gtest/gtest.h"

namespace pagoda {
namespace {

std::vector<std::byte> Bytes(int first) {
  return {std::byte(first), std::byte(first + 1), std::byte(first + 2)};
}

TEST(SingleCommunicatorTest, IsRankZeroOfOne) {
  const auto comm = MakeSingleCommunicator();
  EXPECT_EQ(comm->rank(), 0);
  EXPECT_EQ(comm->size(), 1);
}

TEST(SingleCommunicatorTest, EveryOperationIsTheIdentity) {
  const auto comm = MakeSingleCommunicator();
  std::vector<float> sum = {1, -2, 3};
  EXPECT_TRUE(comm->AllReduce(absl::MakeSpan(sum)).ok());
  EXPECT_EQ(sum, (std::vector<float>{1, -2, 3}));

  const std::vector<std::byte> mine = Bytes(5);
  std::vector<std::byte> all(3), gathered(3), sent = Bytes(9);
  EXPECT_TRUE(comm->AllGather(mine, absl::MakeSpan(all)).ok());
  EXPECT_EQ(all, mine);
  EXPECT_TRUE(comm->Gather(mine, absl::MakeSpan(gathered), 0).ok());
  EXPECT_EQ(gathered, mine);
  EXPECT_TRUE(comm->Broadcast(absl::MakeSpan(sent), 0).ok());
  EXPECT_EQ(sent, Bytes(9));
}

TEST(SingleCommunicatorTest, RefusesEverythingAfterAbort) {
  const auto comm = MakeSingleCommunicator();
  comm->Abort();
  comm->Abort();
  std::vector<float> sum = {1};
  std::vector<std::byte> data(1), all(1);
  EXPECT_EQ(comm->AllReduce(absl::MakeSpan(sum)).code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(comm->AllGather(data, absl::MakeSpan(all)).code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(comm->Gather(data, absl::MakeSpan(all), 0).code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(comm->Broadcast(absl::MakeSpan(all), 0).code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace pagoda
