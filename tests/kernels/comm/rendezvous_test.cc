#include "kernels/comm/rendezvous.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/check.h"
#include "common/clock.h"
#include "kernels/comm/local_segment.h"

namespace pagoda {
namespace {

CommOptions Options(int rank, CommBackend backend = CommBackend::kAuto) {
  return {.rank = rank, .size = 2, .epoch = 7, .backend = backend, .interface = "lo"};
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

TEST(RendezvousTest, RefusesInterfacesThatAreNotThere) {
  for (const std::string interface : {"nonsense0", "", "192.0.2.1", "127.0.0.1.5"}) {
    CommOptions options = Options(0, CommBackend::kGloo);
    options.interface = interface;
    const absl::Status status = OpenRendezvous(options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << interface;
    EXPECT_NE(status.message().find("--comm-interface"), std::string::npos) << status;
  }
}

TEST(RendezvousTest, TakesTheAddressOfAnInterface) {
  CommOptions options = Options(0, CommBackend::kGloo);
  options.interface = "127.0.0.2";
  EXPECT_TRUE(OpenRendezvous(options).ok());
}

TEST(RendezvousTest, RefusesEndpointsOfAnotherGroup) {
  const auto mine = OpenRendezvous(Options(0, CommBackend::kLocal));
  const auto peer = OpenRendezvous(Options(1, CommBackend::kLocal));
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

TEST(RendezvousTest, RefusesGarbageForAddresses) {
  for (const std::string address : {"", "zz", "00", "0200ffff"}) {
    const auto mine = OpenRendezvous(Options(0, CommBackend::kGloo));
    ASSERT_TRUE(mine.ok());
    const auto connected =
        (*mine)->Connect({(*mine)->endpoint(), "pagoda-comm-1 7 1 2 - - " + address + ",-"});
    EXPECT_FALSE(connected.ok()) << address;
  }
}

// Where `endpoint` waits for rank `peer`.
sockaddr_in WaitsAt(const std::string& endpoint, size_t peer) {
  const std::vector<std::string> words = absl::StrSplit(endpoint, ' ');
  const std::vector<std::string> addresses = absl::StrSplit(words.at(6), ',');
  const std::string bytes = absl::HexStringToBytes(addresses.at(peer));
  sockaddr_in address;
  CHECK_GE(bytes.size(), sizeof(address));
  std::memcpy(&address, bytes.data(), sizeof(address));
  return address;
}

TEST(RendezvousTest, EndpointsHoldNothingButAddresses) {
  const auto opened = OpenRendezvous(Options(0, CommBackend::kGloo));
  ASSERT_TRUE(opened.ok());
  const std::vector<std::string> words = absl::StrSplit((*opened)->endpoint(), ' ');
  const std::string bytes = absl::HexStringToBytes(words.at(6).substr(words.at(6).find(',') + 1));
  for (size_t i = sizeof(sockaddr_in); i < sizeof(sockaddr_storage); ++i) {
    EXPECT_EQ(bytes.at(i), '\0') << i;
  }
}

// Somebody connects before the peers do, and sends garbage.
TEST(RendezvousTest, AStrangerInARanksPlaceIsNoticedInTime) {
  std::vector<std::unique_ptr<Rendezvous>> ranks;
  std::vector<std::string> endpoints;
  std::vector<int> strangers;
  for (const int rank : {0, 1}) {
    auto opened = OpenRendezvous(Options(rank, CommBackend::kGloo));
    ASSERT_TRUE(opened.ok());
    endpoints.push_back((*opened)->endpoint());
    ranks.push_back(*std::move(opened));
    const sockaddr_in address = WaitsAt(endpoints[rank], 1 - rank);
    strangers.push_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(
        connect(strangers[rank], reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
        0);
    const std::string garbage(100000, '\xfe');
    send(strangers[rank], garbage.data(), garbage.size(), MSG_NOSIGNAL);
  }
  const absl::Time start = RealClock()->Now();
  std::vector<std::thread> threads;
  for (const auto& rank : ranks) {
    threads.emplace_back([&] { EXPECT_FALSE(rank->Connect(endpoints).ok()); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LT(RealClock()->Now() - start, absl::Seconds(60));  // it takes 5
  for (const int fd : strangers) close(fd);
}

TEST(RendezvousTest, SaysWhenTheRanksShareNoWay) {
  const auto local = OpenRendezvous(Options(0, CommBackend::kLocal));
  const auto gloo = OpenRendezvous(Options(1, CommBackend::kGloo));
  ASSERT_TRUE(local.ok() && gloo.ok());
  const auto connected = (*local)->Connect({(*local)->endpoint(), (*gloo)->endpoint()});
  EXPECT_EQ(connected.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(connected.status().message().find("--comm-backend"), std::string::npos);
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
  EXPECT_EQ(ParseCommBackend("nccl").status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace pagoda
