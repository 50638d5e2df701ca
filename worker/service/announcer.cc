#include "worker/service/announcer.h"

#include <chrono>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/pagoda/v1/worker.grpc.pb.h"

namespace pagoda {

Announcer::Announcer(std::string coordinator,
                     absl::Duration timeout,
                     std::function<void(absl::Status status)> done)
    : coordinator_(std::move(coordinator)),
      timeout_(timeout),
      done_(std::move(done)),
      thread_([this] { Run(); }) {}

Announcer::~Announcer() {
  Stop();
  thread_.join();
}

void Announcer::Announce(const v1::JoinRequest& request) {
  MutexLock lock(&mutex_);
  request_ = request;
  known_ = wanted_ = true;
  changed_.SignalAll();
}

void Announcer::Again() {
  MutexLock lock(&mutex_);
  wanted_ = known_;
  changed_.SignalAll();
}

void Announcer::Stop() {
  MutexLock lock(&mutex_);
  stopping_ = true;
  if (call_ != nullptr) call_->TryCancel();
  changed_.SignalAll();
}

void Announcer::Run() {
  absl::Status status;
  while (status.ok()) {
    v1::JoinRequest request;
    {
      MutexLock lock(&mutex_);
      while (!wanted_ && !stopping_) changed_.Wait(&mutex_);
      if (stopping_) return;
      wanted_ = false;
      request = request_;
    }
    status = Try(request);
    if (absl::IsCancelled(status)) return;
    done_(status);
  }
}

absl::Status Announcer::Try(const v1::JoinRequest& request) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  const auto channel =
      grpc::CreateCustomChannel(coordinator_, grpc::InsecureChannelCredentials(), arguments);
  const auto deadline = std::chrono::system_clock::now() + absl::ToChronoMicroseconds(timeout_);
  absl::Status status = Join(channel, request, deadline);
  // Ready once and broken then; the next call waits for the connection, as the first did.
  while (absl::IsUnavailable(status) && std::chrono::system_clock::now() < deadline) {
    status = Join(channel, request, deadline);
  }
  return status;
}

absl::Status Announcer::Join(const std::shared_ptr<grpc::Channel>& channel,
                             const v1::JoinRequest& request,
                             std::chrono::system_clock::time_point deadline) {
  grpc::ClientContext context;
  context.set_deadline(deadline);
  context.set_wait_for_ready(true);
  {
    MutexLock lock(&mutex_);
    if (stopping_) return absl::CancelledError("");
    call_ = &context;
  }
  v1::JoinResponse response;
  const grpc::Status status = v1::Registry::NewStub(channel)->Join(&context, request, &response);
  MutexLock lock(&mutex_);
  call_ = nullptr;
  if (stopping_) return absl::CancelledError("");
  if (status.ok()) return absl::OkStatus();
  return absl::Status(
      static_cast<absl::StatusCode>(status.error_code()),
      absl::StrCat("cannot join the coordinator at ", coordinator_, ": ", status.error_message()));
}

}  // namespace pagoda
