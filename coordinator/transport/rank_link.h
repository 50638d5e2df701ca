// The coordinator's end of one worker process: calls with deadlines, which another thread can
// cancel. One thread at a time makes calls.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/mutex.h"
#include "coordinator/core/action.h"
#include "proto/pagoda/v1/worker.grpc.pb.h"

namespace pagoda {

// What every rank of a group loads.
struct ModelSource {
  std::string model;        // directory
  std::string dtype;        // as in LoadModelRequest
  std::string load_format;  // as in LoadModelRequest
};

class RankLink {
 public:
  // `address` is the worker's gRPC target; empty: it will be announced.
  RankLink(uint32_t rank, uint32_t size, std::string address);

  uint32_t rank() const { return rank_; }

  // Any thread. Where the worker is from the next dialling on. ALREADY_EXISTS when a worker at
  // another address has this rank, and is there and answers.
  absl::Status Announced(const std::string& address) ABSL_LOCKS_EXCLUDED(mutex_);

  // The worker that announced itself is not wanted: another may come. False when the address was
  // given, so there is no other.
  bool Forget() ABSL_LOCKS_EXCLUDED(mutex_);

  // Any thread. The worker did not answer in time: another may announce itself in its place.
  void Distrust() ABSL_LOCKS_EXCLUDED(mutex_);

  // Any thread. Ends the call at hand and all that follow with CANCELLED, until Begin.
  void Cancel() ABSL_LOCKS_EXCLUDED(mutex_);
  // Calls are made again.
  void Begin() ABSL_LOCKS_EXCLUDED(mutex_);

  // Waits for the worker to be there, however long that takes.
  absl::Status Dial() ABSL_LOCKS_EXCLUDED(mutex_);
  // DEADLINE_EXCEEDED when the worker does not answer within `patience`.
  absl::Status CheckAlive(absl::Duration patience);
  // INVALID_ARGUMENT when the worker holds another model or speaks another protocol.
  absl::StatusOr<v1::ModelInfo> LoadModel(const ModelSource& source);
  // DEADLINE_EXCEEDED when the worker does not let go of its last epoch within `patience`.
  absl::StatusOr<v1::ProfileResponse> Profile(const core::GroupCapacity& capacity,
                                              absl::Duration patience);
  // The rank's endpoint.
  absl::StatusOr<std::string> Configure(const core::OpenEpoch& open);

  // For the stream of an epoch. REQUIRES: Dial succeeded.
  v1::Worker::Stub* stub() const { return stub_.get(); }

 private:
  class Call;

  bool cancelled() ABSL_LOCKS_EXCLUDED(mutex_);
  bool Moved(const std::string& address) ABSL_LOCKS_EXCLUDED(mutex_);

  const uint32_t rank_;
  const uint32_t size_;

  // The calling thread's.
  std::string dialled_;
  std::unique_ptr<v1::Worker::Stub> stub_;

  Mutex mutex_;
  CondVar changed_;
  const bool fixed_;                             // the address was given
  std::string address_ ABSL_GUARDED_BY(mutex_);  // empty: not announced yet
  std::shared_ptr<grpc::Channel> channel_ ABSL_GUARDED_BY(mutex_);
  bool answers_ ABSL_GUARDED_BY(mutex_) = true;  // to the last question that had a short deadline
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::ClientContext* call_ ABSL_GUARDED_BY(mutex_) = nullptr;  // at hand
};

}  // namespace pagoda
