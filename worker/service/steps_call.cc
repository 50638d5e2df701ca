#include "worker/service/steps_call.h"

#include <utility>

namespace pagoda {

StepsCall::StepsCall(grpc::CallbackServerContext* context, std::function<void()> cancelled)
    : context_(context), cancelled_(std::move(cancelled)) {
  StartRead(&incoming_);
}

bool StepsCall::Read(v1::StepMessage* message) {
  MutexLock lock(&mutex_);
  while (waiting_.empty() && !over_) changed_.Wait(&mutex_);
  if (waiting_.empty()) return false;
  Take(message);
  return true;
}

bool StepsCall::ReadOrWake(v1::StepMessage* message) {
  MutexLock lock(&mutex_);
  while ((message == nullptr || waiting_.empty()) && wakes_ == 0) changed_.Wait(&mutex_);
  if (message != nullptr && !waiting_.empty()) {
    Take(message);
    return true;
  }
  --wakes_;
  return false;
}

void StepsCall::Take(v1::StepMessage* message) {
  *message = std::move(waiting_.front());
  waiting_.pop_front();
  if (!reading_ && !over_) {
    reading_ = true;
    StartRead(&incoming_);
  }
}

void StepsCall::Wake() {
  MutexLock lock(&mutex_);
  ++wakes_;
  changed_.SignalAll();
}

void StepsCall::OnReadDone(bool ok) {
  MutexLock lock(&mutex_);
  reading_ = false;
  if (!ok) {
    over_ = true;
  } else {
    waiting_.push_back(std::move(incoming_));
    incoming_.Clear();
    if (waiting_.size() < kMaxWaiting) {
      reading_ = true;
      StartRead(&incoming_);
    }
  }
  changed_.SignalAll();
}

bool StepsCall::Write(const v1::StepResult& result) {
  MutexLock lock(&mutex_);
  writing_ = true;
  StartWrite(&result);
  while (writing_) changed_.Wait(&mutex_);
  return written_;
}

void StepsCall::OnWriteDone(bool ok) {
  MutexLock lock(&mutex_);
  writing_ = false;
  written_ = ok;
  changed_.SignalAll();
}

void StepsCall::OnCancel() {
  MutexLock lock(&mutex_);
  // What waits is for nobody any more.
  waiting_.clear();
  over_ = true;
  changed_.SignalAll();
  if (cancelled_ != nullptr) std::exchange(cancelled_, nullptr)();
}

void StepsCall::End(const grpc::Status& status) {
  {
    MutexLock lock(&mutex_);
    cancelled_ = nullptr;
  }
  Finish(status);
}

void StepsCall::OnDone() {
  // The reactor owns itself, as gRPC's callback API has it.
  const std::unique_ptr<StepsCall> gone(this);
}

}  // namespace pagoda
