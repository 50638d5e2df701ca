#include "coordinator/transport/registry_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"

namespace pagoda {
namespace {

using ::testing::HasSubstr;

class RegistryServiceTest : public ::testing::Test {
 protected:
  RegistryServiceTest() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    stub_ = v1::Registry::NewStub(
        grpc::CreateChannel(absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials()));
    request_.set_protocol_version(1);
    request_.set_address("10.0.0.2:50052");
    request_.set_rank(1);
    request_.set_size(2);
  }

  grpc::Status Join() {
    grpc::ClientContext context;
    v1::JoinResponse response;
    return stub_->Join(&context, request_, &response);
  }

  int announced_ = 0;
  absl::Status answer_;
  RegistryService service_{[this](const v1::JoinRequest&) {
    ++announced_;
    return answer_;
  }};
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::Registry::Stub> stub_;
  v1::JoinRequest request_;
};

TEST_F(RegistryServiceTest, AnswersWhatTheGroupSays) {
  EXPECT_TRUE(Join().ok());
  answer_ = absl::AlreadyExistsError("rank 1 is taken");
  const grpc::Status status = Join();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(status.error_message(), "rank 1 is taken");
  EXPECT_EQ(announced_, 2);
}

TEST_F(RegistryServiceTest, RefusesAnotherVersionOfTheProtocol) {
  request_.set_protocol_version(9);
  const grpc::Status status = Join();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("the worker speaks protocol 9"));
  EXPECT_EQ(announced_, 0);
}

TEST_F(RegistryServiceTest, RefusesRanksThatCannotBe) {
  for (const auto& [rank, size] : {std::pair(2u, 2u), {0u, 0u}, {0xffffffffu, 2u}}) {
    request_.set_rank(rank);
    request_.set_size(size);
    EXPECT_EQ(Join().error_code(), grpc::StatusCode::INVALID_ARGUMENT) << rank << " of " << size;
  }
  request_.set_rank(0);
  request_.set_size(1);
  request_.clear_address();
  EXPECT_THAT(Join().error_message(), HasSubstr("no address"));
  EXPECT_EQ(announced_, 0);
}

}  // namespace
}  // namespace pagoda
