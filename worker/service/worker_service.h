// pagoda.v1.Worker over one runner.
//
// gRPC calls each method on a thread of its own; steps are computed on one thread of the service.
// The runner belongs to one thread at a time: that one, while a stream of steps is open, or a
// Configure's, which first ends the stream. Health needs only the mutex, which nobody holds while
// computing.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "proto/pagoda/v1/worker.grpc.pb.h"
#include "worker/runner/runner.h"
#include "worker/service/steps_call.h"

namespace pagoda {

// The version of worker.proto that this worker speaks.
inline constexpr uint32_t kWorkerProtocolVersion = 1;

struct WorkerServiceOptions {
  BackendFactory device;
  std::string comm_backend = "auto";
  std::string comm_interface = "lo";
  // Once each, from gRPC's threads: the first epoch is configured; the first step is computed.
  std::function<void()> ready = [] {};
  std::function<void()> stepped = [] {};
  // Each time, from the thread of the steps: a stream of steps is over.
  std::function<void()> stream_over = [] {};
  // From the thread that noticed: the device is lost to this process, which should end.
  std::function<void(const absl::Status& why)> device_lost = [](const absl::Status&) {};
};

class WorkerService final : public v1::Worker::WithCallbackMethod_Steps<v1::Worker::Service> {
 public:
  explicit WorkerService(WorkerServiceOptions options);
  // REQUIRES: no call is open (Stop, and the server's end).
  ~WorkerService() override;

  grpc::Status LoadModel(grpc::ServerContext* context,
                         const v1::LoadModelRequest* request,
                         grpc::ServerWriter<v1::LoadModelProgress>* writer) override;
  grpc::Status Profile(grpc::ServerContext* context,
                       const v1::ProfileRequest* request,
                       v1::ProfileResponse* response) override;
  grpc::Status Configure(grpc::ServerContext* context,
                         const v1::ConfigureRequest* request,
                         v1::ConfigureResponse* response) override;
  grpc::ServerBidiReactor<v1::StepMessage, v1::StepResult>* Steps(
      grpc::CallbackServerContext* context) override;
  grpc::Status Health(grpc::ServerContext* context,
                      const v1::HealthRequest* request,
                      v1::HealthResponse* response) override;

  // Ends the open stream, waits for it (a running step is computed and answered), and refuses what
  // would start new work. False when a model is being loaded: that cannot be ended, and need not
  // be.
  bool Stop() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  RunnerOptions ToRunnerOptions(const v1::LoadModelRequest& request);
  absl::Status Load(const v1::LoadModelRequest& request,
                    grpc::ServerWriter<v1::LoadModelProgress>* writer);
  // Takes the task of loading; OK and `*loaded` when the model is there already.
  absl::Status StartLoading(const v1::LoadModelRequest& request, bool* loaded)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<std::string> DoConfigure(const v1::ConfigureRequest& request)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Makes the runner this Configure's, when its epoch is new and no newer one came meanwhile.
  absl::Status TakeRunner(uint64_t epoch) ABSL_LOCKS_EXCLUDED(mutex_);
  // The service's own thread: serves one stream after another.
  void RunSteps() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status CheckOpenable() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status ServeStream(StepsCall* call) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status AcceptOpen(const v1::StepMessage& message) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status ServePlans(StepsCall* call) ABSL_LOCKS_EXCLUDED(mutex_);
  // The oldest plan's; false: the stream is broken.
  absl::StatusOr<bool> AnswerPlan(uint64_t plan_hash, StepsCall* call) ABSL_LOCKS_EXCLUDED(mutex_);
  // The runner's word that a step is done; any thread.
  void WakeSteps() ABSL_LOCKS_EXCLUDED(mutex_);
  void CheckDevice();
  absl::Status SetStepping(bool stepping) ABSL_LOCKS_EXCLUDED(mutex_);
  void EndEpoch() ABSL_LOCKS_EXCLUDED(mutex_);

  enum class State { kEmpty, kLoading, kLoaded };

  const WorkerServiceOptions options_;
  std::unique_ptr<Runner> runner_;  // set once, before kLoaded; then its owner's

  Mutex mutex_;
  CondVar changed_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kEmpty;
  std::string loaded_ ABSL_GUARDED_BY(mutex_);  // the request of the present or coming model
  v1::LoadModelProgress done_ ABSL_GUARDED_BY(mutex_);   // the last message of a load
  bool configuring_ ABSL_GUARDED_BY(mutex_) = false;     // the runner is a Configure's
  StepsCall* stream_ ABSL_GUARDED_BY(mutex_) = nullptr;  // the Steps call at hand
  bool unserved_ ABSL_GUARDED_BY(mutex_) = false;        // it waits for RunSteps
  bool stepping_ ABSL_GUARDED_BY(mutex_) = false;        // it computes or answers
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t highest_epoch_ ABSL_GUARDED_BY(mutex_) = 0;  // ever asked for
  uint64_t epoch_ ABSL_GUARDED_BY(mutex_) = 0;          // open; 0: none
  uint64_t last_step_ ABSL_GUARDED_BY(mutex_) = 0;      // of it, answered
  bool was_ready_ ABSL_GUARDED_BY(mutex_) = false;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;  // RunSteps shall return
  // Of steps_thread_:
  bool has_stepped_ = false;
  v1::Plan plan_;
  v1::StepResult result_;

  std::thread steps_thread_;
};

}  // namespace pagoda
