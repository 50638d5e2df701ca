// One stream of steps, for the thread that computes: reads and writes that wait, over gRPC's
// callbacks, which notice a broken stream also while a step is being computed.
#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "common/mutex.h"
#include "proto/pagoda/v1/worker.pb.h"

namespace pagoda {

// Owned by gRPC from its construction; gone some time after End.
class StepsCall final : public grpc::ServerBidiReactor<v1::StepMessage, v1::StepResult> {
 public:
  // `cancelled`, where it is not null, is called once, from a gRPC thread, when the stream is
  // broken or cancelled before End; not after End has returned.
  StepsCall(grpc::CallbackServerContext* context, std::function<void()> cancelled);

  // The next message; false when there will be none: the other side is done, or gone.
  bool Read(v1::StepMessage* message) ABSL_LOCKS_EXCLUDED(mutex_);
  // The next message, before all where `message` is not null and there is one; false: a Wake that
  // no call has answered yet.
  bool ReadOrWake(v1::StepMessage* message) ABSL_LOCKS_EXCLUDED(mutex_);
  // Any thread.
  void Wake() ABSL_LOCKS_EXCLUDED(mutex_);
  // False when the stream is broken. `result` must live until the return.
  bool Write(const v1::StepResult& result) ABSL_LOCKS_EXCLUDED(mutex_);
  // Once, the last call.
  void End(const grpc::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);

  grpc::CallbackServerContext* context() const { return context_; }

 private:
  // Messages that wait here; more wait in the transport.
  static constexpr size_t kMaxWaiting = 8;

  void Take(v1::StepMessage* message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnReadDone(bool ok) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnWriteDone(bool ok) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnCancel() override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnDone() override;

  grpc::CallbackServerContext* const context_;
  v1::StepMessage incoming_;  // the transport's while a read is under way

  Mutex mutex_;
  CondVar changed_;
  std::function<void()> cancelled_ ABSL_GUARDED_BY(mutex_);  // null: no longer wanted
  std::deque<v1::StepMessage> waiting_ ABSL_GUARDED_BY(mutex_);
  bool reading_ ABSL_GUARDED_BY(mutex_) = true;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool written_ ABSL_GUARDED_BY(mutex_) = false;  // the last write came through
  bool over_ ABSL_GUARDED_BY(mutex_) = false;     // nothing more will be read
  int wakes_ ABSL_GUARDED_BY(mutex_) = 0;         // that nothing has answered
};

}  // namespace pagoda
