// One epoch's Steps stream to one worker (worker.proto), on gRPC's callback API: nothing here
// blocks.
//
// Plans go out in order; answers come back in order and are checked against the hash of the plan
// bytes. The stream ends by itself (worker gone), by Cancel, or by an answer that does not fit; it
// then reports once and will not touch its callbacks again.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/hash.h"
#include "common/mutex.h"
#include "proto/pagoda/v1/worker.grpc.pb.h"

namespace pagoda {

class StepStream final : public grpc::ClientBidiReactor<v1::StepMessage, v1::StepResult> {
 public:
  struct Callbacks {
    // From a gRPC thread, one at a time, in step order.
    std::function<void(const v1::StepResult& result)> answered;
    // Last call, from a gRPC thread: why the stream is over. The stream may be deleted after it
    // returned.
    std::function<void(absl::Status status)> ended;
  };

  // Starts the stream and sends Open for `epoch`, with the endpoints of all ranks.
  StepStream(v1::Worker::Stub* stub,
             uint64_t epoch,
             const std::vector<std::string>& endpoints,
             Callbacks callbacks);

  // Any thread. Queues the bytes of a proto Plan.
  void SendPlan(absl::string_view plan);
  // Any thread. Ends the stream with `why`.
  void Cancel(absl::Status why);

 private:
  void OnWriteDone(bool ok) override;
  void OnReadDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

  void Queue(v1::StepMessage message, uint64_t hash);
  absl::Status Check(const v1::StepResult& result);

  const uint64_t epoch_;
  const Callbacks callbacks_;
  grpc::ClientContext context_;
  v1::StepResult result_;  // being read

  Mutex mutex_;
  std::deque<v1::StepMessage> outgoing_ ABSL_GUARDED_BY(mutex_);  // the front one is being written
  std::deque<uint64_t> expected_ ABSL_GUARDED_BY(mutex_);         // plan hashes of unanswered steps
  RunningHash hash_ ABSL_GUARDED_BY(mutex_);
  absl::Status why_ ABSL_GUARDED_BY(mutex_);
  bool over_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace pagoda
