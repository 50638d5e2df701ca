#include "kernels/comm/rendezvous.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_replace.h"
#include "kernels/comm/local_segment.h"

namespace pagoda {
namespace {

CommOptions Options(int rank) {
  return {.rank = rank, .size = 2, .epoch = 7, .backend = CommBackend::kLocal};
}

TEST(RendezvousTest, OneRankNeedsNobody) {
  const auto alone = OpenRendezvous({.rank = 0, .size = 1});
  ASSERT_TRUE(alone.ok());
  EXPECT_EQ((*alone)->endpoint(), "");
  EXPECT_EQ((*(*alone)->Connect({}))->size(), 1);
}

TEST(RendezvousTest, RefusesGroupsThatCannotBe) {
  for (const auto& [rank, size] : {std::pair(0, 3), {0, 0}, {2, 2}, {-1, 2}, {0, 16}}) {
    const auto status = OpenRendezvous({.rank = rank, .size = size}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << rank << " of " << size;
  }
}

TEST(RendezvousTest, RefusesEndpointsOfAnotherGroup) {
  const auto mine = OpenRendezvous(Options(0));
  const auto peer = OpenRendezvous(Options(1));
  ASSERT_TRUE(mine.ok() && peer.ok());
  const std::string own = (*mine)->endpoint(), other = (*peer)->endpoint();
  const std::vector<std::vector<std::string>> wrong = {
      {},
      {own},
      {own, own},
      {other, own},
      {own, other, other},
      {own, ""},
      {own, "garbage"},
      {own, std::string(1 << 20, ' ')},
      {own, absl::StrReplaceAll(other, {{" 7 1 2 ", " 6 1 2 "}})},
      {own, absl::StrReplaceAll(other, {{" 7 1 2 ", " 7 1 4 "}})},
      {own, absl::StrReplaceAll(other, {{" 7 1 2 ", " 7 9999999999 2 "}})},
      {own, absl::StrReplaceAll(other, {{"/", "//"}})},
  };
  for (const std::vector<std::string>& endpoints : wrong) {
    const auto connected = (*mine)->Connect(endpoints);
    EXPECT_EQ(connected.status().code(), absl::StatusCode::kFailedPrecondition) << endpoints.size();
  }
}

TEST(LocalSegmentTest, IsFoundByItsNameWhileItsOwnerLives) {
  auto own = LocalSegment::Create();
  ASSERT_TRUE(own.ok()) << own.status();
  const std::string name = own->name();
  {
    const auto same = LocalSegment::Attach(name);
    ASSERT_TRUE(same.ok()) << same.status();
    (*own)->slots[1][5] = std::byte{42};
    EXPECT_EQ((*same)->slots[1][5], std::byte{42});
  }
  { const LocalSegment gone = *std::move(own); }
  EXPECT_EQ(LocalSegment::Attach(name).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(LocalSegmentTest, AnotherFileUnderItsNameIsNoticed) {
  const auto own = LocalSegment::Create();
  ASSERT_TRUE(own.ok());
  const std::string name = own->name();
  const std::string other = name.substr(0, name.rfind('/')) + "/1";
  EXPECT_EQ(LocalSegment::Attach(other).status().code(), absl::StatusCode::kFailedPrecondition);
  for (const std::string nonsense : {"", "1", "1/2", "x/y/z", "1/0/0", "99999999/1/1"}) {
    EXPECT_FALSE(LocalSegment::Attach(nonsense).ok()) << nonsense;
  }
}

TEST(CommBackendTest, IsReadByName) {
  EXPECT_EQ(*ParseCommBackend("auto"), CommBackend::kAuto);
  EXPECT_EQ(*ParseCommBackend("local"), CommBackend::kLocal);
  EXPECT_EQ(*ParseCommBackend("gloo"), CommBackend::kGloo);
  EXPECT_EQ(*ParseCommBackend("nccl"), CommBackend::kNccl);
  EXPECT_EQ(ParseCommBackend("mpi").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(CommBackendTest, NcclIsNotForCpus) {
  const CommOptions options = {.rank = 0, .size = 2, .epoch = 1, .backend = CommBackend::kNccl};
  EXPECT_EQ(OpenRendezvous(options).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace pagoda
