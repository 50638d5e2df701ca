// One Generate call: parses, has the request accepted, then writes what it produces as fast as the
// client reads.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <deque>
#include <memory>

#include "absl/status/status.h"
#include "common/mutex.h"
#include "coordinator/api/acceptor.h"
#include "coordinator/api/work_pool.h"
#include "proto/pagoda/v1/inference.pb.h"

namespace pagoda {

class GenerateCall final : public grpc::ServerWriteReactor<v1::GenerateResponse> {
 public:
  // Answers the reactor of a new call; it frees itself when gRPC and the request are both done with
  // it.
  static GenerateCall* Start(Acceptor* acceptor,
                             WorkPool* pool,
                             const grpc::CallbackServerContext* context,
                             const v1::GenerateRequest* request);

 private:
  GenerateCall(Acceptor* acceptor, absl::Time deadline, const v1::GenerateRequest* request);

  // Work pool.
  void Begin();
  absl::StatusOr<Acceptor::Accepted> Accept();
  // Any thread: there may be something to write.
  void Pump();
  void Translate(const OutputUpdate& update) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TranslateDelta(const OutputUpdate& update) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TranslateEnd(const OutputUpdate& update) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FinishLocked(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  Acceptor* const acceptor_;
  const absl::Time deadline_;
  const v1::GenerateRequest* const request_;  // gRPC's, until OnDone
  const bool return_token_ids_;
  // This object is shared by gRPC (self_, until OnDone) and by the request's wake callback.
  std::shared_ptr<GenerateCall> self_;

  Mutex mutex_;
  std::shared_ptr<const ServedModel> model_ ABSL_GUARDED_BY(mutex_);
  Acceptor::Accepted accepted_ ABSL_GUARDED_BY(mutex_);  // output null before and after
  std::deque<v1::GenerateResponse> outgoing_ ABSL_GUARDED_BY(mutex_);  // the front is being written
  absl::Status end_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;      // the request is over; end_ is set
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;  // the client is gone
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;   // Finish was called
};

}  // namespace pagoda
