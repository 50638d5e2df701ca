// A group of worker processes behind gRPC (worker.proto). One rank until tensor parallelism is
// built.
//
//   dial -> LoadModel -> Profile -> (GroupJoined) -> wait for OpenEpoch -> Configure -> Steps
//    ^                                                                   (GroupLost)    |
//    +------------------------------------------------------------------------ over ----+
//
// One thread of its own walks this path with blocking calls that have deadlines; plans and answers
// go through a StepStream and need no thread.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "common/mutex.h"
#include "coordinator/transport/group_link.h"
#include "coordinator/transport/plan_encoder.h"
#include "coordinator/transport/pool_size.h"
#include "coordinator/transport/step_stream.h"
#include "proto/pagoda/v1/worker.grpc.pb.h"

namespace pagoda {

struct GrpcGroupOptions {
  core::GroupId group;
  std::string address;      // gRPC target of the worker; empty: it will be Announced
  std::string model;        // directory
  std::string dtype;        // as in LoadModelRequest
  std::string load_format;  // as in LoadModelRequest
  PoolFlags pool;
  // The first worker has the model; before the first GroupJoined. Every later one must have the
  // same model and gets the same capacity.
  std::function<void(const v1::ModelInfo& model, const core::GroupCapacity& capacity)> loaded;
  // The model or the flags cannot work with this worker: trying again would not help.
  std::function<void(absl::Status status)> hopeless;
  // A worker may hang: whoever can kill it should.
  std::function<void(absl::string_view reason)> suspect;
};

class GrpcGroup final : public GroupLink {
 public:
  GrpcGroup(GrpcGroupOptions options, EventSink sink);
  ~GrpcGroup() override;

  // Any thread. Where the worker is from the next dialling on.
  void Announced(std::string address);

  void OpenEpoch(const core::OpenEpoch& open) override;
  void SendPlan(const core::StepPlan& plan) override;
  void Drop(const core::Drop& drop) override;

 private:
  class Call;
  // What the first incarnation found; the later ones must be like it.
  struct First {
    std::string fingerprint;
    core::GroupCapacity capacity;
  };

  void Run();
  // One incarnation: from dialling until its stream is over. An error says why it ended.
  absl::Status RunOnce();
  absl::Status Dial();
  bool Moved(const std::string& address);
  absl::Status LoadModel(v1::ModelInfo* model);
  absl::StatusOr<v1::ProfileResponse> Profile();
  absl::Status Meet(const v1::ModelInfo& model, const v1::ProfileResponse& profile);
  std::optional<core::OpenEpoch> WaitForEpoch();
  absl::Status Configure(const core::OpenEpoch& open);
  absl::Status ServeEpoch(const core::OpenEpoch& open);
  void WaitBeforeRetry();
  bool stopping();

  const GrpcGroupOptions options_;
  const EventSink sink_;

  // Own thread.
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Worker::Stub> stub_;
  std::optional<First> first_;
  absl::Duration backoff_;
  int epochs_in_vain_ = 0;  // in a row, without an answered step

  PlanEncoder encoder_;  // engine thread

  Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::string address_ ABSL_GUARDED_BY(mutex_);                  // empty: not announced yet
  grpc::ClientContext* call_ ABSL_GUARDED_BY(mutex_) = nullptr;  // the blocking call at hand
  std::optional<core::OpenEpoch> wanted_ ABSL_GUARDED_BY(mutex_);
  // The epoch that this incarnation was told to open; 0 before that.
  uint64_t current_ ABSL_GUARDED_BY(mutex_) = 0;
  bool dropped_ ABSL_GUARDED_BY(mutex_) = false;   // the core gave current_ up
  bool progress_ ABSL_GUARDED_BY(mutex_) = false;  // a step of current_ was answered
  std::unique_ptr<StepStream> stream_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> stream_end_ ABSL_GUARDED_BY(mutex_);

  std::thread thread_;
};

}  // namespace pagoda
