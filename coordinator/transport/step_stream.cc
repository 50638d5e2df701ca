#include "coordinator/transport/step_stream.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/transport/protocol.h"
#include "coordinator/transport/rpc_status.h"

namespace pagoda {

StepStream::StepStream(v1::Worker::Stub* stub,
                       uint64_t epoch,
                       const std::vector<std::string>& endpoints,
                       Callbacks callbacks)
    : epoch_(epoch), callbacks_(std::move(callbacks)) {
  stub->async()->Steps(&context_, this);
  StartRead(&result_);
  v1::StepMessage open;
  open.mutable_open()->set_protocol_version(kProtocolVersion);
  open.mutable_open()->set_epoch(epoch_);
  for (const std::string& endpoint : endpoints) open.mutable_open()->add_endpoints(endpoint);
  {
    MutexLock lock(&mutex_);
    expected_.push_back(0);
    outgoing_.push_back(std::move(open));
    StartWrite(&outgoing_.front());
  }
  AddHold();  // for writes from outside; until no read is outstanding
  StartCall();
}

void StepStream::SendPlan(absl::string_view plan) {
  v1::StepMessage message;
  message.set_plan(plan.data(), plan.size());
  MutexLock lock(&mutex_);
  if (over_) return;
  hash_.Add(plan);
  expected_.push_back(hash_.value());
  outgoing_.push_back(std::move(message));
  if (outgoing_.size() == 1) StartWrite(&outgoing_.front());
}

void StepStream::Cancel(absl::Status why) {
  MutexLock lock(&mutex_);
  if (over_) return;
  over_ = true;
  why_ = std::move(why);
  context_.TryCancel();
}

void StepStream::OnWriteDone(bool ok) {
  MutexLock lock(&mutex_);
  outgoing_.pop_front();
  if (!ok || over_) {
    over_ = true;
    outgoing_.clear();
    return;
  }
  if (!outgoing_.empty()) StartWrite(&outgoing_.front());
}

absl::Status StepStream::Check(const v1::StepResult& result) {
  MutexLock lock(&mutex_);
  if (result.epoch() != epoch_ || expected_.empty()) {
    return absl::DataLossError(absl::StrCat("unexpected answer: epoch ",
                                            result.epoch(),
                                            " step ",
                                            result.step(),
                                            " in epoch ",
                                            epoch_));
  }
  const uint64_t expected = expected_.front();
  expected_.pop_front();
  if (result.plan_hash() != expected) {
    return absl::DataLossError(
        absl::StrCat("the worker saw other plan bytes than were sent, at step ", result.step()));
  }
  return absl::OkStatus();
}

void StepStream::OnReadDone(bool ok) {
  absl::Status status = ok ? Check(result_) : absl::OkStatus();
  if (ok && status.ok()) {
    callbacks_.answered(result_);
    StartRead(&result_);
    return;
  }
  if (ok) Cancel(std::move(status));
  {
    MutexLock lock(&mutex_);
    over_ = true;  // nobody starts a write after this
  }
  RemoveHold();  // OnDone follows
}

void StepStream::OnDone(const grpc::Status& status) {
  absl::Status why;
  {
    MutexLock lock(&mutex_);
    over_ = true;
    why = why_.ok() ? FromGrpc(status) : why_;
  }
  if (why.ok()) why = absl::UnavailableError("the worker closed the stream");
  // The callback may delete this object.
  const auto ended = callbacks_.ended;
  ended(std::move(why));
}

}  // namespace pagoda
