#include "coordinator/transport/grpc_group.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status.h"
#include "coordinator/transport/protocol.h"
#include "coordinator/transport/rpc_status.h"

namespace pagoda {
namespace {

constexpr auto kDialSlice = std::chrono::milliseconds(200);
constexpr auto kLoadTimeout = std::chrono::minutes(60);
constexpr auto kCallTimeout = std::chrono::seconds(60);
const absl::Duration kFirstBackoff = absl::Milliseconds(20);
const absl::Duration kLastBackoff = absl::Seconds(2);
constexpr int kMaxEpochsInVain = 5;

// Whether a new attempt could end otherwise.
bool IsHopeless(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kDataLoss:
      return true;
    default:
      return false;
  }
}

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  // A restarted worker should be found at once, not after gRPC's growing back-off.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

core::TokenLogprobs FromProto(const v1::TokenLogprobs& from) {
  core::TokenLogprobs to{.logprob = from.logprob(), .rank = from.rank()};
  const int count = std::min(from.top_tokens_size(), from.top_logprobs_size());
  for (int i = 0; i < count; ++i) {
    to.top.push_back({static_cast<int32_t>(from.top_tokens(i)), from.top_logprobs(i)});
  }
  return to;
}

core::StepDone FromProto(core::GroupId group, const v1::StepResult& from) {
  core::StepDone done{.group = group,
                      .epoch = core::Epoch(from.epoch()),
                      .step = core::Step(from.step()),
                      .table_digest = from.table_digest(),
                      .busy = absl::Nanoseconds(from.busy_ns())};
  done.tokens.assign(from.tokens().begin(), from.tokens().end());
  for (const auto& logprobs : from.logprobs()) done.logprobs.push_back(FromProto(logprobs));
  for (const auto& error : from.errors()) {
    done.failures.push_back({static_cast<int32_t>(error.lane()), error.message()});
  }
  return done;
}

}  // namespace

GrpcGroup::GrpcGroup(GrpcGroupOptions options, EventSink sink)
    : options_(std::move(options)),
      sink_(std::move(sink)),
      address_(options_.address),
      thread_([this] { Run(); }) {}

GrpcGroup::~GrpcGroup() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    if (call_ != nullptr) call_->TryCancel();
    if (stream_ != nullptr) stream_->Cancel(absl::CancelledError("the server stops"));
    changed_.SignalAll();
  }
  thread_.join();
}

bool GrpcGroup::stopping() {
  MutexLock lock(&mutex_);
  return stopping_;
}

void GrpcGroup::Announced(std::string address) {
  log::Info("worker announced", {{"address", address}});
  MutexLock lock(&mutex_);
  address_ = std::move(address);
  changed_.SignalAll();
}

// Engine thread.

void GrpcGroup::OpenEpoch(const core::OpenEpoch& open) {
  MutexLock lock(&mutex_);
  wanted_ = open;
  current_ = open.epoch.value();
  dropped_ = progress_ = false;
  changed_.SignalAll();
}

void GrpcGroup::SendPlan(const core::StepPlan& plan) {
  const absl::string_view bytes = encoder_.Encode(plan);
  MutexLock lock(&mutex_);
  if (stream_ != nullptr && current_ == plan.epoch.value()) stream_->SendPlan(bytes);
}

void GrpcGroup::Drop(const core::Drop& drop) {
  MutexLock lock(&mutex_);
  // Of an incarnation that is over: the worker of the present one has done nothing wrong.
  if (drop.epoch.value() != current_) return;
  log::Error("epoch given up", {{"epoch", drop.epoch.value()}, {"reason", drop.reason}});
  options_.suspect(drop.reason);
  dropped_ = true;
  if (call_ != nullptr) call_->TryCancel();
  if (stream_ != nullptr) stream_->Cancel(absl::AbortedError(drop.reason));
}

// Own thread.

void GrpcGroup::Run() {
  while (!stopping()) {
    const absl::Status status = RunOnce();
    if (stopping()) return;
    if (IsHopeless(status)) {
      options_.hopeless(status);
      return;
    }
    log::Warning("worker lost", {{"reason", status.ToString()}});
    WaitBeforeRetry();
  }
}

void GrpcGroup::WaitBeforeRetry() {
  backoff_ = std::clamp(2 * backoff_, kFirstBackoff, kLastBackoff);
  const absl::Time until = absl::Now() + backoff_;
  MutexLock lock(&mutex_);
  while (!stopping_ && absl::Now() < until) changed_.WaitUntil(&mutex_, until);
}

absl::Status GrpcGroup::RunOnce() {
  {
    MutexLock lock(&mutex_);
    current_ = 0;
    dropped_ = progress_ = false;
    wanted_.reset();
  }
  RETURN_IF_ERROR(Dial());
  v1::ModelInfo model;
  RETURN_IF_ERROR(LoadModel(&model));
  ASSIGN_OR_RETURN(const v1::ProfileResponse profile, Profile());
  RETURN_IF_ERROR(Meet(model, profile));
  sink_(core::GroupJoined{.group = options_.group,
                          .capacity = first_->capacity,
                          .last_epoch = core::Epoch(profile.last_epoch())});
  const std::optional<core::OpenEpoch> open = WaitForEpoch();
  if (!open.has_value()) return absl::CancelledError("the server stops");
  absl::Status status = Configure(*open);
  if (status.ok()) status = ServeEpoch(*open);
  sink_(core::GroupLost{.group = options_.group,
                        .epoch = open->epoch,
                        .reason = std::string(status.message())});
  return status;
}

absl::Status GrpcGroup::Meet(const v1::ModelInfo& model, const v1::ProfileResponse& profile) {
  if (first_.has_value()) {
    if (model.fingerprint() == first_->fingerprint) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat("the worker came back with another model: fingerprint ",
                                            model.fingerprint(),
                                            ", was ",
                                            first_->fingerprint));
  }
  ASSIGN_OR_RETURN(const core::GroupCapacity capacity,
                   SizePool(options_.pool,
                            {.max_position_embeddings = model.max_position_embeddings(),
                             .kv_bytes_per_token = model.kv_bytes_per_token(),
                             .memory_available_bytes = profile.memory_available_bytes()}));
  first_ = First{model.fingerprint(), capacity};
  options_.loaded(model, capacity);
  return absl::OkStatus();
}

absl::Status GrpcGroup::Dial() {
  std::string address;
  {
    MutexLock lock(&mutex_);
    while (address_.empty() && !stopping_) changed_.Wait(&mutex_);
    address = address_;
  }
  channel_ = MakeChannel(address);
  stub_ = v1::Worker::NewStub(channel_);
  absl::Time next_message = absl::Now() + absl::Seconds(10);
  while (!channel_->WaitForConnected(std::chrono::system_clock::now() + kDialSlice)) {
    if (stopping()) return absl::CancelledError("the server stops");
    if (Moved(address)) return absl::UnavailableError("the worker announced another address");
    if (absl::Now() < next_message) continue;
    log::Info("waiting for the worker", {{"address", address}});
    next_message = absl::Now() + absl::Seconds(10);
  }
  return absl::OkStatus();
}

bool GrpcGroup::Moved(const std::string& address) {
  MutexLock lock(&mutex_);
  return address_ != address;
}

// A blocking call that the engine thread or the destructor can cancel while it runs.
class GrpcGroup::Call {
 public:
  Call(GrpcGroup* group, std::chrono::seconds timeout) : group_(group) {
    context_.set_deadline(std::chrono::system_clock::now() + timeout);
    MutexLock lock(&group_->mutex_);
    group_->call_ = &context_;
    if (group_->stopping_ || group_->dropped_) context_.TryCancel();
  }
  ~Call() {
    MutexLock lock(&group_->mutex_);
    group_->call_ = nullptr;
  }
  grpc::ClientContext* context() { return &context_; }

 private:
  GrpcGroup* const group_;
  grpc::ClientContext context_;
};

absl::Status GrpcGroup::LoadModel(v1::ModelInfo* model) {
  Call call(this, kLoadTimeout);
  v1::LoadModelRequest request;
  request.set_protocol_version(kProtocolVersion);
  request.set_model(options_.model);
  request.set_dtype(options_.dtype);
  request.set_load_format(options_.load_format);
  request.set_size(1);
  const auto reader = stub_->LoadModel(call.context(), request);
  v1::LoadModelProgress progress;
  bool done = false;
  absl::Time next_message = absl::Now() + absl::Seconds(5);
  while (reader->Read(&progress)) {
    done |= progress.done();
    if (progress.done()) *model = progress.model();
    if (progress.done() || absl::Now() < next_message) continue;
    log::Info("loading the model",
              {{"bytes", progress.bytes_read()}, {"of", progress.bytes_total()}});
    next_message = absl::Now() + absl::Seconds(5);
  }
  absl::Status status = FromGrpc(reader->Finish());
  if (absl::IsFailedPrecondition(status)) {
    // It holds another model, or speaks another version of the protocol; it will go on so.
    return absl::InvalidArgumentError(status.message());
  }
  RETURN_IF_ERROR(status);
  if (!done) return absl::InternalError("the worker ended LoadModel without a model");
  return absl::OkStatus();
}

absl::StatusOr<v1::ProfileResponse> GrpcGroup::Profile() {
  Call call(this, kCallTimeout);
  v1::ProfileResponse profile;
  RETURN_IF_ERROR(FromGrpc(stub_->Profile(call.context(), v1::ProfileRequest(), &profile)));
  return profile;
}

std::optional<core::OpenEpoch> GrpcGroup::WaitForEpoch() {
  MutexLock lock(&mutex_);
  // The core answers every GroupJoined, so this wait ends.
  while (!wanted_.has_value() && !stopping_) changed_.Wait(&mutex_);
  return std::exchange(wanted_, std::nullopt);
}

absl::Status GrpcGroup::Configure(const core::OpenEpoch& open) {
  Call call(this, kCallTimeout);
  v1::ConfigureRequest request;
  request.set_protocol_version(kProtocolVersion);
  request.set_epoch(open.epoch.value());
  request.set_block_size(open.capacity.block_size);
  request.set_num_blocks(open.capacity.num_blocks);
  request.set_max_lanes(open.capacity.max_lanes);
  request.set_max_step_tokens(open.capacity.max_step_tokens);
  request.set_max_model_len(open.capacity.max_model_len);
  v1::ConfigureResponse response;
  return FromGrpc(stub_->Configure(call.context(), request, &response));
}

absl::Status GrpcGroup::ServeEpoch(const core::OpenEpoch& open) {
  StepStream::Callbacks callbacks;
  callbacks.answered = [this](const v1::StepResult& result) {
    if (result.step() > 0) {
      MutexLock lock(&mutex_);
      progress_ = true;
    }
    sink_(FromProto(options_.group, result));
  };
  callbacks.ended = [this](absl::Status status) {
    MutexLock lock(&mutex_);
    stream_end_ = std::move(status);
    changed_.SignalAll();
  };
  MutexLock lock(&mutex_);
  if (stopping_ || dropped_) return absl::AbortedError("given up");
  stream_end_.reset();
  stream_ = std::make_unique<StepStream>(stub_.get(), open.epoch.value(), std::move(callbacks));
  while (!stream_end_.has_value()) changed_.Wait(&mutex_);
  stream_.reset();
  epochs_in_vain_ = progress_ ? 0 : epochs_in_vain_ + 1;
  if (progress_) backoff_ = absl::ZeroDuration();
  if (epochs_in_vain_ == kMaxEpochsInVain) {
    return absl::DataLossError(absl::StrCat(kMaxEpochsInVain,
                                            " epochs in a row ended without an answered step: ",
                                            stream_end_->message()));
  }
  // However a stream ends, the next incarnation may do better.
  return absl::UnavailableError(stream_end_->message());
}

}  // namespace pagoda
