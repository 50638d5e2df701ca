#include "worker/service/announcer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/time/clock.h"
#include "common/queue.h"
#include "proto/pagoda/v1/worker.grpc.pb.h"
#include "tests/worker/service/worker_client.h"
#include "worker/service/listen.h"

namespace pagoda {
namespace {

using ::testing::HasSubstr;

class FakeRegistry : public v1::Registry::Service {
 public:
  grpc::Status Join(grpc::ServerContext*,
                    const v1::JoinRequest* request,
                    v1::JoinResponse*) override {
    joined_.TryPush(v1::JoinRequest(*request));
    return answer_;
  }

  BoundedQueue<v1::JoinRequest> joined_{10};
  grpc::Status answer_ = grpc::Status::OK;
};

class AnnouncerTest : public ::testing::Test {
 protected:
  void Announce(absl::Duration timeout) {
    v1::JoinRequest request;
    request.set_protocol_version(1);
    request.set_address("worker-7:50052");
    request.set_size(1);
    announcer_.emplace(coordinator_, timeout, [this](absl::Status status) {
      results_.TryPush(std::move(status));
    });
    announcer_->Again();  // nothing yet
    announcer_->Announce(request);
  }
  absl::Status Result() {
    auto status = results_.PopUntil(absl::Now() + absl::Seconds(60));
    return status.has_value() ? *status : absl::InternalError("no result came");
  }

  const std::string coordinator_ = NewSocketAddress();
  FakeRegistry registry_;
  BoundedQueue<absl::Status> results_{10};
  std::optional<Announcer> announcer_;
};

TEST_F(AnnouncerTest, JoinsWithAddressRankAndSize) {
  const auto server = Listen(coordinator_, &registry_);
  ASSERT_TRUE(server.ok());
  Announce(absl::Seconds(30));
  ASSERT_TRUE(Result().ok());
  const auto request = registry_.joined_.Pop();
  EXPECT_EQ(request->protocol_version(), 1u);
  EXPECT_EQ(request->address(), "worker-7:50052");
  EXPECT_EQ(request->rank(), 0u);
  EXPECT_EQ(request->size(), 1u);
}

TEST_F(AnnouncerTest, WaitsForACoordinatorThatComesLater) {
  Announce(absl::Seconds(60));
  EXPECT_FALSE(results_.PopUntil(absl::Now() + absl::Milliseconds(200)).has_value());
  const auto server = Listen(coordinator_, &registry_);
  ASSERT_TRUE(server.ok());
  EXPECT_TRUE(Result().ok());
}

TEST_F(AnnouncerTest, ARefusalIsFinal) {
  registry_.answer_ = grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, "the group is full");
  const auto server = Listen(coordinator_, &registry_);
  ASSERT_TRUE(server.ok());
  Announce(absl::Seconds(30));
  const absl::Status status = Result();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("the group is full"));
  EXPECT_THAT(std::string(status.message()), HasSubstr(coordinator_));
  EXPECT_EQ(registry_.joined_.size(), 1u);
}

TEST_F(AnnouncerTest, GivesUpAfterItsTime) {
  Announce(absl::Milliseconds(300));
  EXPECT_EQ(Result().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(AnnouncerTest, AnnouncesItselfAgainToTheNextCoordinator) {
  {
    const auto server = Listen(coordinator_, &registry_);
    ASSERT_TRUE(server.ok());
    Announce(absl::Seconds(60));
    ASSERT_TRUE(Result().ok());
    server->server->Shutdown(std::chrono::system_clock::now());
  }
  announcer_->Again();
  const auto server = Listen(coordinator_, &registry_);
  ASSERT_TRUE(server.ok());
  EXPECT_TRUE(Result().ok());
  EXPECT_EQ(registry_.joined_.size(), 2u);
}

TEST_F(AnnouncerTest, AStoppedOneIsSilent) {
  Announce(absl::Hours(1));
  announcer_->Stop();
  announcer_->Again();
  announcer_.reset();
  EXPECT_EQ(results_.size(), 0u);
}

TEST_F(AnnouncerTest, CanBeEndedWhileItWaits) {
  Announce(absl::Hours(1));
  announcer_.reset();
  EXPECT_EQ(results_.size(), 0u);
}

}  // namespace
}  // namespace pagoda
