// What is Gloo's: a program of its own, because ThreadSanitizer takes what the library does unseen
// for races.
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
#include "absl/strings/str_split.h"
#include "common/check.h"
#include "common/clock.h"
#include "kernels/comm/rendezvous.h"
#include "tests/kernels/comm/communicator_suite.h"

namespace pagoda::testing {

const auto kCases =
    ::testing::Combine(::testing::Values(OnHost<CommBackend::kGloo>()), ::testing::Values(2, 4, 8));
INSTANTIATE_TEST_SUITE_P(Gloo, CommunicatorTest, kCases, Ranks);
INSTANTIATE_TEST_SUITE_P(Gloo, PeersEndTest, kCases, Ranks);

namespace {

CommOptions Options(int rank, CommBackend backend = CommBackend::kGloo) {
  return {.rank = rank, .size = 2, .epoch = 7, .backend = backend, .interface = "lo"};
}

TEST(GlooRendezvousTest, RefusesInterfacesThatAreNotThere) {
  for (const std::string interface : {"nonsense0", "", "192.0.2.1", "2001:db8::1", "127.0.0.1.5"}) {
    CommOptions options = Options(0);
    options.interface = interface;
    const absl::Status status = OpenRendezvous(options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << interface;
    EXPECT_NE(status.message().find("--comm-interface"), std::string::npos) << status;
  }
}

TEST(GlooRendezvousTest, TakesTheAddressOfAnInterface) {
  CommOptions options = Options(0);
  options.interface = "127.0.0.2";
  EXPECT_TRUE(OpenRendezvous(options).ok());
}

TEST(GlooRendezvousTest, RefusesGarbageForAddresses) {
  for (const std::string address : {"", "zz", "00", "0200ffff"}) {
    const auto mine = OpenRendezvous(Options(0));
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

TEST(GlooRendezvousTest, EndpointsHoldNothingButAddresses) {
  const auto opened = OpenRendezvous(Options(0));
  ASSERT_TRUE(opened.ok());
  const std::vector<std::string> words = absl::StrSplit((*opened)->endpoint(), ' ');
  const std::string bytes = absl::HexStringToBytes(words.at(6).substr(words.at(6).find(',') + 1));
  for (size_t i = sizeof(sockaddr_in); i < sizeof(sockaddr_storage); ++i) {
    EXPECT_EQ(bytes.at(i), '\0') << i;
  }
}

// Somebody connects before the peers do, and sends garbage.
TEST(GlooRendezvousTest, AStrangerInARanksPlaceIsNoticedInTime) {
  std::vector<std::unique_ptr<Rendezvous>> ranks;
  std::vector<std::string> endpoints;
  std::vector<int> strangers;
  for (const int rank : {0, 1}) {
    auto opened = OpenRendezvous(Options(rank));
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

TEST(GlooRendezvousTest, SaysWhenTheRanksShareNoWay) {
  const auto local = OpenRendezvous(Options(0, CommBackend::kLocal));
  const auto gloo = OpenRendezvous(Options(1));
  ASSERT_TRUE(local.ok() && gloo.ok());
  const auto connected = (*local)->Connect({(*local)->endpoint(), (*gloo)->endpoint()});
  EXPECT_EQ(connected.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(connected.status().message().find("--comm-backend"), std::string::npos);
}

}  // namespace
}  // namespace pagoda::testing
