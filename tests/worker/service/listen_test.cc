#include "worker/service/listen.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string>

#include "proto/pagoda/v1/worker.grpc.pb.h"
#include "tests/worker/service/worker_client.h"

namespace pagoda {
namespace {

using ::testing::HasSubstr;

// Answers Health.
class HealthyWorker : public v1::Worker::Service {
  grpc::Status Health(grpc::ServerContext*,
                      const v1::HealthRequest*,
                      v1::HealthResponse* response) override {
    response->set_epoch(42);
    return grpc::Status::OK;
  }
};

class ListenTest : public ::testing::Test {
 protected:
  std::string Path() const { return address_.substr(5); }
  absl::StatusCode CodeOf(const std::string& address) {
    return Listen(address, &service_).status().code();
  }

  const std::string address_ = NewSocketAddress();
  HealthyWorker service_;
};

// A socket file as a killed process leaves it.
void LeaveSocket(const std::string& path) {
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  ASSERT_LT(path.size(), sizeof(address.sun_path));
  std::memcpy(address.sun_path, path.data(), path.size());
  ASSERT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(listen(fd, 1), 0);
  close(fd);
}

TEST_F(ListenTest, AnswersOnAUnixSocket) {
  const auto listening = Listen(address_, &service_);
  ASSERT_TRUE(listening.ok()) << listening.status();
  EXPECT_EQ(listening->address, address_);
  EXPECT_EQ(WorkerClient(address_).Health().epoch(), 42u);
}

TEST_F(ListenTest, ReplacesTheSocketOfADeadWorker) {
  LeaveSocket(Path());
  const auto listening = Listen(address_, &service_);
  ASSERT_TRUE(listening.ok()) << listening.status();
  EXPECT_EQ(WorkerClient(address_).Health().epoch(), 42u);
}

TEST_F(ListenTest, ALivingWorkerKeepsItsSocket) {
  const auto first = Listen(address_, &service_);
  ASSERT_TRUE(first.ok());
  HealthyWorker other;
  const auto second = Listen(address_, &other);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists) << second.status();
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("another process listens"));
  EXPECT_EQ(WorkerClient(address_).Health().epoch(), 42u);
}

TEST_F(ListenTest, AFileIsNotReplaced) {
  std::ofstream(Path()) << "precious";
  EXPECT_EQ(CodeOf(address_), absl::StatusCode::kAlreadyExists);
  std::ifstream file(Path());
  std::string content;
  file >> content;
  EXPECT_EQ(content, "precious");
  unlink(Path().c_str());
}

TEST_F(ListenTest, APortIsChosenForZero) {
  const auto listening = Listen("127.0.0.1:0", &service_);
  ASSERT_TRUE(listening.ok()) << listening.status();
  EXPECT_THAT(listening->address, ::testing::MatchesRegex("127.0.0.1:[1-9][0-9]*"));
  EXPECT_EQ(WorkerClient(listening->address).Health().epoch(), 42u);
  EXPECT_EQ(CodeOf(listening->address), absl::StatusCode::kUnavailable) << "no port is shared";
}

TEST_F(ListenTest, OtherFormsAreRefused) {
  for (const char* address : {"",
                              "localhost",
                              ":50051",
                              "localhost:",
                              "localhost:http",
                              "localhost:65536",
                              "localhost:-1",
                              "unix:"}) {
    EXPECT_EQ(CodeOf(address), absl::StatusCode::kInvalidArgument) << address;
  }
  EXPECT_EQ(CodeOf("unix:/" + std::string(200, 'x')), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CodeOf("unix:/no/such/folder/w.sock"), absl::StatusCode::kUnavailable);
}

TEST(ReachableTest, WildcardsCannotBeDialled) {
  for (const char* address : {"0.0.0.0:50051", "[::]:50051", "*:50051", "nonsense"}) {
    EXPECT_EQ(CheckReachable(address).code(), absl::StatusCode::kInvalidArgument) << address;
  }
  for (const char* address : {"10.0.0.7:50051", "worker-0:50051", "[::1]:1", "unix:/run/w.sock"}) {
    EXPECT_TRUE(CheckReachable(address).ok()) << address;
  }
}

}  // namespace
}  // namespace pagoda
