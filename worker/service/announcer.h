// Tells a coordinator's Registry where this worker can be dialled.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/mutex.h"
#include "proto/pagoda/v1/worker.pb.h"

namespace pagoda {

// Works on a thread of its own, so that a signal can end the wait.
class Announcer {
 public:
  // Calls Join at `coordinator` until it is answered; UNAVAILABLE is tried again until `timeout` is
  // over. `done` is called once, from that thread, unless this is destroyed first.
  Announcer(std::string coordinator,
            v1::JoinRequest request,
            absl::Duration timeout,
            std::function<void(absl::Status status)> done);
  // Cancels.
  ~Announcer();

 private:
  absl::Status Announce();
  absl::Status Join(const std::shared_ptr<grpc::Channel>& channel,
                    std::chrono::system_clock::time_point deadline);

  const std::string coordinator_;
  const v1::JoinRequest request_;
  const absl::Duration timeout_;
  const std::function<void(absl::Status status)> done_;

  Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::ClientContext* call_ ABSL_GUARDED_BY(mutex_) = nullptr;

  std::thread thread_;
};

}  // namespace pagoda
