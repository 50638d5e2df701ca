#include "worker/service/announcer.h"

#include <chrono>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/pagoda/v1/worker.grpc.pb.h"

namespace pagoda {

Announcer::Announcer(std::string coordinator,
                     v1::JoinRequest request,
                     absl::Duration timeout,
                     std::function<void(absl::Status status)> done)
    : coordinator_(std::move(coordinator)),
      request_(std::move(request)),
      timeout_(timeout),
      done_(std::move(done)),
      thread_([this] {
        absl::Status status = Announce();
        if (!absl::IsCancelled(status)) done_(std::move(status));
      }) {}

Announcer::~Announcer() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    if (call_ != nullptr) call_->TryCancel();
  }
  thread_.join();
}

absl::Status Announcer::Announce() {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  const auto channel =
      grpc::CreateCustomChannel(coordinator_, grpc::InsecureChannelCredentials(), arguments);
  const auto deadline = std::chrono::system_clock::now() + absl::ToChronoMicroseconds(timeout_);
  absl::Status status = Join(channel, deadline);
  // Ready once and broken then; the next call waits for the connection, as the first did.
  while (absl::IsUnavailable(status) && std::chrono::system_clock::now() < deadline) {
    status = Join(channel, deadline);
  }
  return status;
}

absl::Status Announcer::Join(const std::shared_ptr<grpc::Channel>& channel,
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
  const grpc::Status status = v1::Registry::NewStub(channel)->Join(&context, request_, &response);
  MutexLock lock(&mutex_);
  call_ = nullptr;
  if (stopping_) return absl::CancelledError("");
  if (status.ok()) return absl::OkStatus();
  return absl::Status(
      static_cast<absl::StatusCode>(status.error_code()),
      absl::StrCat("cannot join the coordinator at ", coordinator_, ": ", status.error_message()));
}

}  // namespace pagoda
