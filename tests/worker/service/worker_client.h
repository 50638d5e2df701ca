// A worker service behind a Unix socket in this process, and a coordinator's calls to it.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "proto/pagoda/v1/worker.grpc.pb.h"

namespace pagoda {

// Of this process alone; nothing is there yet.
inline std::string NewSocketAddress() {
  static std::atomic<int> count = 0;
  return absl::StrCat("unix:", ::testing::TempDir(), "pw_", getpid(), "_", ++count, ".sock");
}

inline v1::LoadModelRequest LoadRequest(const std::string& model) {
  v1::LoadModelRequest request;
  request.set_protocol_version(1);
  request.set_model(model);
  request.set_dtype("auto");
  request.set_load_format("dummy");
  request.set_size(1);
  return request;
}

inline v1::ConfigureRequest ConfigRequest(uint64_t epoch) {
  v1::ConfigureRequest config;
  config.set_protocol_version(1);
  config.set_epoch(epoch);
  config.set_block_size(16);
  config.set_num_blocks(160);
  config.set_max_lanes(8);
  config.set_max_step_tokens(2048);
  config.set_max_model_len(2048);
  return config;
}

// Calls with deadlines, so that a worker that hangs fails a test.
class WorkerClient {
 public:
  explicit WorkerClient(const std::string& address)
      : stub_(
            v1::Worker::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()))) {
  }

  v1::Worker::Stub& stub() { return *stub_; }

  static void SetDeadline(grpc::ClientContext* context) {
    context->set_wait_for_ready(true);
    context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  }

  grpc::Status Load(const v1::LoadModelRequest& request, std::vector<v1::LoadModelProgress>* all) {
    grpc::ClientContext context;
    SetDeadline(&context);
    const auto reader = stub_->LoadModel(&context, request);
    v1::LoadModelProgress progress;
    while (reader->Read(&progress)) all->push_back(progress);
    return reader->Finish();
  }
  grpc::Status Load(const v1::LoadModelRequest& request) {
    std::vector<v1::LoadModelProgress> all;
    return Load(request, &all);
  }
  grpc::Status Configure(const v1::ConfigureRequest& request) {
    grpc::ClientContext context;
    SetDeadline(&context);
    v1::ConfigureResponse response;
    return stub_->Configure(&context, request, &response);
  }
  grpc::Status Profile(v1::ProfileResponse* response) {
    grpc::ClientContext context;
    SetDeadline(&context);
    v1::ProfileRequest request;
    request.set_block_size(16);
    request.set_max_lanes(8);
    request.set_max_step_tokens(64);
    request.set_max_model_len(256);
    return stub_->Profile(&context, request, response);
  }
  v1::HealthResponse Health() {
    grpc::ClientContext context;
    SetDeadline(&context);
    v1::HealthResponse response;
    const grpc::Status status = stub_->Health(&context, {}, &response);
    CHECK(status.ok()) << status.error_message();
    return response;
  }

 private:
  std::unique_ptr<v1::Worker::Stub> stub_;
};

// One Steps call.
class StepCall {
 public:
  explicit StepCall(WorkerClient* client) {
    WorkerClient::SetDeadline(&context_);
    stream_ = client->stub().Steps(&context_);
  }

  // Sends Open and reads the answer; false when the worker ended the call instead.
  bool Open(uint64_t epoch, v1::StepResult* result) {
    v1::StepMessage message;
    message.mutable_open()->set_protocol_version(1);
    message.mutable_open()->set_epoch(epoch);
    return stream_->Write(message) && stream_->Read(result);
  }
  bool Open(uint64_t epoch) {
    v1::StepResult result;
    return Open(epoch, &result);
  }
  bool Send(const v1::StepMessage& message) { return stream_->Write(message); }
  bool SendPlan(const std::string& bytes) {
    v1::StepMessage message;
    message.set_plan(bytes);
    return Send(message);
  }
  bool Read(v1::StepResult* result) { return stream_->Read(result); }
  bool Step(const v1::Plan& plan, v1::StepResult* result) {
    return SendPlan(plan.SerializeAsString()) && Read(result);
  }
  void Cancel() { context_.TryCancel(); }
  // The client says that it is done, takes what is left, and waits for the worker's last word.
  grpc::Status Finish() {
    stream_->WritesDone();
    v1::StepResult rest;
    while (stream_->Read(&rest)) {
    }
    return stream_->Finish();
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::StepMessage, v1::StepResult>> stream_;
};

}  // namespace pagoda
