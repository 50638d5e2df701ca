// Tells a coordinator's Registry where this worker can be dialled.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/mutex.h"
#include "proto/pagoda/v1/worker.pb.h"

namespace pagoda {

// Works on a thread of its own, so that a signal can end the wait. Any thread calls it.
class Announcer {
 public:
  // An announcement calls Join at `coordinator` until it is answered; UNAVAILABLE is tried again
  // until `timeout` is over. `done` is called from the announcer's thread with how each ended; an
  // error is the last.
  Announcer(std::string coordinator,
            absl::Duration timeout,
            std::function<void(absl::Status status)> done);
  ~Announcer();

  void Announce(const v1::JoinRequest& request) ABSL_LOCKS_EXCLUDED(mutex_);
  // The same once more, to whoever is the coordinator now. Nothing before the first.
  void Again() ABSL_LOCKS_EXCLUDED(mutex_);
  // Ends the announcement at hand without `done`; later ones do nothing.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Run();
  absl::Status Try(const v1::JoinRequest& request);
  absl::Status Join(const std::shared_ptr<grpc::Channel>& channel,
                    const v1::JoinRequest& request,
                    std::chrono::system_clock::time_point deadline);

  const std::string coordinator_;
  const absl::Duration timeout_;
  const std::function<void(absl::Status status)> done_;

  Mutex mutex_;
  CondVar changed_;
  v1::JoinRequest request_ ABSL_GUARDED_BY(mutex_);
  bool known_ ABSL_GUARDED_BY(mutex_) = false;   // request_ was given
  bool wanted_ ABSL_GUARDED_BY(mutex_) = false;  // an announcement is to be made
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::ClientContext* call_ ABSL_GUARDED_BY(mutex_) = nullptr;

  std::thread thread_;
};

}  // namespace pagoda
