#include "worker/service/worker_service.h"

#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/hash.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/status.h"
#include "kernels/comm/local_segment.h"
#include "worker/service/model_info.h"

namespace pagoda {
namespace {

constexpr std::chrono::milliseconds kProgressInterval(100);
// For a coordinator to read the answer of the last step.
constexpr absl::Duration kStopGrace = absl::Seconds(10);

grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

absl::Status CheckVersion(uint32_t version) {
  if (version == kWorkerProtocolVersion) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("the coordinator speaks protocol ",
                                                    version,
                                                    ", this worker ",
                                                    kWorkerProtocolVersion));
}

absl::Status NoModel() { return absl::FailedPreconditionError("no model is loaded"); }

absl::Status Stale(uint64_t epoch, uint64_t highest) {
  return absl::FailedPreconditionError(
      absl::StrCat("epoch ", epoch, ": this worker has seen epoch ", highest));
}

absl::Status NotAPlan(const v1::StepMessage& message) {
  return message.has_open() ? absl::FailedPreconditionError("Open comes once")
         : message.has_sample_input()
             ? absl::UnimplementedError("sample_input is not built yet")
             : absl::UnimplementedError("a message that this worker does not know");
}

absl::Status Stopping() { return absl::UnavailableError("the worker is stopping"); }

}  // namespace

WorkerService::WorkerService(WorkerServiceOptions options)
    : options_(std::move(options)), steps_thread_([this] { RunSteps(); }) {}

WorkerService::~WorkerService() {
  {
    MutexLock lock(&mutex_);
    ending_ = true;
    changed_.SignalAll();
  }
  steps_thread_.join();
}

// ---- LoadModel, Profile, Health
// -------------------------------------------------------------------

grpc::Status WorkerService::LoadModel(grpc::ServerContext*,
                                      const v1::LoadModelRequest* request,
                                      grpc::ServerWriter<v1::LoadModelProgress>* writer) {
  bool loaded = false;
  if (absl::Status status = StartLoading(*request, &loaded); !status.ok()) return ToGrpc(status);
  if (!loaded) {
    const absl::Status status = Load(*request, writer);
    if (!status.ok()) {
      log::Error("the model cannot be loaded",
                 {{"model", request->model()}, {"reason", status.ToString()}});
    }
    MutexLock lock(&mutex_);
    state_ = status.ok() ? State::kLoaded : State::kEmpty;
    changed_.SignalAll();
    if (!status.ok()) return ToGrpc(status);
  }
  v1::LoadModelProgress done;
  {
    MutexLock lock(&mutex_);
    done = done_;
  }
  writer->Write(done);
  return grpc::Status::OK;
}

absl::Status WorkerService::StartLoading(const v1::LoadModelRequest& request, bool* loaded) {
  RETURN_IF_ERROR(CheckVersion(request.protocol_version()));
  const std::string wanted = request.SerializeAsString();
  MutexLock lock(&mutex_);
  while (state_ == State::kLoading) changed_.Wait(&mutex_);
  if (stopping_) return Stopping();
  if (state_ == State::kLoaded && wanted != loaded_) {
    return absl::FailedPreconditionError("another model, or the same in another way, is loaded");
  }
  *loaded = state_ == State::kLoaded;
  if (!*loaded) {
    state_ = State::kLoading;
    loaded_ = wanted;
  }
  return absl::OkStatus();
}

RunnerOptions WorkerService::ToRunnerOptions(const v1::LoadModelRequest& request) {
  return {.model = request.model(),
          .dtype = request.dtype(),
          .load_format = request.load_format(),
          .device = options_.device,
          .shard = {.rank = static_cast<int32_t>(request.rank()),
                    .size = static_cast<int32_t>(request.size())},
          .comm_backend = options_.comm_backend,
          .comm_interface = options_.comm_interface,
          .step_done = [this] { WakeSteps(); }};
}

absl::Status WorkerService::Load(const v1::LoadModelRequest& request,
                                 grpc::ServerWriter<v1::LoadModelProgress>* writer) {
  v1::LoadModelProgress progress;
  auto last = std::chrono::steady_clock::now();
  const auto start = last;
  const auto report = [&](uint64_t bytes_read, uint64_t bytes_total) {
    progress.set_bytes_read(bytes_read);
    progress.set_bytes_total(bytes_total);
    const auto now = std::chrono::steady_clock::now();
    if (now - last < kProgressInterval) return;
    last = now;
    // Who asked may be gone; the model is for whoever asks next.
    writer->Write(progress);
  };
  ASSIGN_OR_RETURN(runner_, Runner::Load(ToRunnerOptions(request), report));
  progress.set_done(true);
  *progress.mutable_model() = MakeModelInfo(*runner_);
  log::Info("model loaded",
            {{"model", request.model()},
             {"dtype", progress.model().dtype()},
             {"rank", request.rank()},
             {"ranks", request.size()},
             {"weight_bytes", progress.model().weight_bytes()},
             {"bytes_read", runner_->model().bytes_read},
             {"device", runner_->device().info().description},
             {"seconds",
              std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()}});
  if (!runner_->model().note.empty()) log::Warning(runner_->model().note);
  MutexLock lock(&mutex_);
  done_ = std::move(progress);
  return absl::OkStatus();
}

grpc::Status WorkerService::Profile(grpc::ServerContext*,
                                    const v1::ProfileRequest* request,
                                    v1::ProfileResponse* response) {
  {
    MutexLock lock(&mutex_);
    if (state_ != State::kLoaded) return ToGrpc(NoModel());
    // The pool of an epoch whose stream is broken is about to go and does not count.
    while (stream_ != nullptr && stream_->context()->IsCancelled()) changed_.Wait(&mutex_);
    response->set_last_epoch(highest_epoch_);
  }
  const absl::StatusOr<uint64_t> memory = runner_->PoolMemory(*request);
  if (!memory.ok()) return ToGrpc(memory.status());
  const DeviceInfo& device = runner_->device().info();
  response->set_pool_memory_bytes(*memory);
  response->set_device(device.description);
  response->set_host(absl::StrCat(HostIdentity(), device.memory.empty() ? "" : " ", device.memory));
  return grpc::Status::OK;
}

grpc::Status WorkerService::Health(grpc::ServerContext*,
                                   const v1::HealthRequest*,
                                   v1::HealthResponse* response) {
  MutexLock lock(&mutex_);
  response->set_state(state_ == State::kEmpty     ? v1::HealthResponse::EMPTY
                      : state_ == State::kLoading ? v1::HealthResponse::LOADING
                      : epoch_ == 0               ? v1::HealthResponse::READY
                                                  : v1::HealthResponse::SERVING);
  response->set_epoch(epoch_);
  response->set_last_step(last_step_);
  return grpc::Status::OK;
}

// ---- Configure
// ------------------------------------------------------------------------------------

grpc::Status WorkerService::Configure(grpc::ServerContext*,
                                      const v1::ConfigureRequest* request,
                                      v1::ConfigureResponse* response) {
  const absl::StatusOr<std::string> endpoint = DoConfigure(*request);
  if (endpoint.ok()) {
    response->set_endpoint(*endpoint);
  } else {
    log::Error("an epoch cannot be configured",
               {{"epoch", request->epoch()}, {"reason", endpoint.status().ToString()}});
  }
  return ToGrpc(endpoint.status());
}

absl::StatusOr<std::string> WorkerService::DoConfigure(const v1::ConfigureRequest& request) {
  RETURN_IF_ERROR(CheckVersion(request.protocol_version()));
  RETURN_IF_ERROR(TakeRunner(request.epoch()));
  absl::StatusOr<std::string> endpoint = runner_->Configure(request);
  CheckDevice();
  bool first = false;
  {
    MutexLock lock(&mutex_);
    configuring_ = false;
    epoch_ = runner_->epoch();
    last_step_ = 0;
    first = endpoint.ok() && !std::exchange(was_ready_, was_ready_ || endpoint.ok());
    changed_.SignalAll();
  }
  if (first) options_.ready();
  return endpoint;
}

absl::Status WorkerService::TakeRunner(uint64_t epoch) {
  MutexLock lock(&mutex_);
  if (state_ != State::kLoaded) return NoModel();
  if (stopping_) return Stopping();
  if (epoch <= highest_epoch_) return Stale(epoch, highest_epoch_);
  highest_epoch_ = epoch;
  while (stream_ != nullptr || configuring_) {
    if (stream_ != nullptr) stream_->context()->TryCancel();
    changed_.Wait(&mutex_);
  }
  if (epoch != highest_epoch_) return Stale(epoch, highest_epoch_);
  configuring_ = true;
  return absl::OkStatus();
}

// ---- Steps
// ----------------------------------------------------------------------------------------

grpc::ServerBidiReactor<v1::StepMessage, v1::StepResult>* WorkerService::Steps(
    grpc::CallbackServerContext* context) {
  MutexLock lock(&mutex_);
  const absl::Status status = CheckOpenable();
  if (!status.ok()) {
    StepsCall* const refused = std::make_unique<StepsCall>(context, nullptr).release();
    refused->End(ToGrpc(status));
    return refused;
  }
  // A step that waits for other ranks ends at once when nobody waits for it any more.
  stream_ = std::make_unique<StepsCall>(context, [this] { runner_->Abort(); }).release();
  unserved_ = true;
  changed_.SignalAll();
  return stream_;
}

absl::Status WorkerService::CheckOpenable() const {
  if (state_ != State::kLoaded) return NoModel();
  if (stopping_) return Stopping();
  if (stream_ == nullptr) return absl::OkStatus();
  return absl::FailedPreconditionError("another stream of steps is open");
}

void WorkerService::RunSteps() {
  while (true) {
    StepsCall* call = nullptr;
    {
      MutexLock lock(&mutex_);
      while (!unserved_ && !ending_) changed_.Wait(&mutex_);
      if (!unserved_) return;
      unserved_ = false;
      call = stream_;
    }
    const absl::Status status = ServeStream(call);
    {
      MutexLock lock(&mutex_);
      stream_ = nullptr;
      stepping_ = false;
      changed_.SignalAll();
    }
    call->End(ToGrpc(status));
    options_.stream_over();
  }
}

absl::Status WorkerService::ServeStream(StepsCall* call) {
  v1::StepMessage message;
  if (!call->Read(&message)) return absl::CancelledError("no Open came");
  RETURN_IF_ERROR(AcceptOpen(message));
  const v1::Open& open = message.open();
  const std::vector<std::string> endpoints(open.endpoints().begin(), open.endpoints().end());
  absl::Status status = runner_->Connect(endpoints);
  v1::StepResult opened;
  opened.set_epoch(open.epoch());
  if (status.ok() && call->Write(opened)) status = ServePlans(call);
  CheckDevice();
  EndEpoch();
  if (!status.ok() && !absl::IsUnavailable(status) && !absl::IsCancelled(status)) {
    log::Error("the epoch ends", {{"epoch", open.epoch()}, {"reason", status.ToString()}});
  } else {
    log::Info("the stream of steps is over", {{"epoch", open.epoch()}});
  }
  return status;
}

absl::Status WorkerService::AcceptOpen(const v1::StepMessage& message) {
  if (!message.has_open()) return absl::FailedPreconditionError("a stream starts with Open");
  const v1::Open& open = message.open();
  RETURN_IF_ERROR(CheckVersion(open.protocol_version()));
  MutexLock lock(&mutex_);
  if (epoch_ == 0 || open.epoch() != epoch_ || configuring_) {
    return absl::FailedPreconditionError(
        absl::StrCat("epoch ", open.epoch(), " is not the one that is configured: ", epoch_));
  }
  return absl::OkStatus();
}

// A plan is queued as soon as it is here, behind the one before it; answers are given as steps end,
// a Wake for each.
absl::Status WorkerService::ServePlans(StepsCall* call) {
  v1::StepMessage message;
  RunningHash hash;
  std::deque<uint64_t> hashes;  // of the plans that are not answered, each with all before it
  bool stopping = false;        // what was begun is answered, nothing else
  while (true) {
    const int pending = runner_->pending();
    if (pending == 0) {
      RETURN_IF_ERROR(SetStepping(false));
      if (!call->Read(&message)) return absl::OkStatus();
    }
    const bool may_submit = pending < Runner::kMaxPending && !stopping;
    if (pending > 0 && !call->ReadOrWake(may_submit ? &message : nullptr)) {
      ASSIGN_OR_RETURN(const bool is_read, AnswerPlan(hashes.front(), call));
      if (!is_read) return absl::OkStatus();
      hashes.pop_front();
      continue;
    }
    absl::Status status = SetStepping(true);
    stopping = !status.ok();
    if (stopping && pending == 0) return status;
    if (stopping) continue;
    if (message.message_case() != v1::StepMessage::kPlan) return NotAPlan(message);
    hash.Add(message.plan());
    hashes.push_back(hash.value());
    if (!plan_.ParseFromString(message.plan())) {
      return absl::InvalidArgumentError(
          absl::StrCat("a plan of ", message.plan().size(), " bytes cannot be parsed"));
    }
    RETURN_IF_ERROR(runner_->Submit(plan_));
  }
}

absl::StatusOr<bool> WorkerService::AnswerPlan(uint64_t plan_hash, StepsCall* call) {
  RETURN_IF_ERROR(runner_->Collect(&result_));
  result_.set_plan_hash(plan_hash);
  {
    MutexLock lock(&mutex_);
    last_step_ = result_.step();
  }
  if (!std::exchange(has_stepped_, true)) options_.stepped();
  return call->Write(result_);
}

void WorkerService::WakeSteps() {
  MutexLock lock(&mutex_);
  if (stream_ != nullptr) stream_->Wake();
}

void WorkerService::CheckDevice() {
  const absl::Status status = runner_->device().status();
  if (!status.ok()) options_.device_lost(status);
}

absl::Status WorkerService::SetStepping(bool stepping) {
  MutexLock lock(&mutex_);
  stepping_ = stepping;
  return stopping_ ? Stopping() : absl::OkStatus();
}

void WorkerService::EndEpoch() {
  runner_->EndEpoch();
  MutexLock lock(&mutex_);
  epoch_ = 0;
}

bool WorkerService::Stop() {
  MutexLock lock(&mutex_);
  stopping_ = true;
  if (stream_ != nullptr && !stepping_) stream_->context()->TryCancel();
  const absl::Time deadline = RealClock()->Now() + kStopGrace;
  while (stream_ != nullptr && changed_.WaitUntil(&mutex_, deadline)) {
  }
  if (stream_ != nullptr) stream_->context()->TryCancel();
  while (stream_ != nullptr) changed_.Wait(&mutex_);
  return state_ != State::kLoading;
}

}  // namespace pagoda
