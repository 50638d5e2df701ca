#include "coordinator/transport/rank_link.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/status.h"
#include "coordinator/transport/protocol.h"
#include "coordinator/transport/rpc_status.h"

namespace pagoda {
namespace {

constexpr auto kDialSlice = std::chrono::milliseconds(200);
const absl::Duration kLoadTimeout = absl::Hours(1);
const absl::Duration kCallTimeout = absl::Minutes(1);
const absl::Duration kMessageInterval = absl::Seconds(5);

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

}  // namespace

// A call that another thread can cancel while it runs.
class RankLink::Call {
 public:
  Call(RankLink* link, absl::Duration timeout) : link_(link) {
    context_.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(timeout));
    MutexLock lock(&link_->mutex_);
    link_->call_ = &context_;
    if (link_->cancelled_) context_.TryCancel();
  }
  ~Call() {
    MutexLock lock(&link_->mutex_);
    link_->call_ = nullptr;
  }
  grpc::ClientContext* context() { return &context_; }

 private:
  RankLink* const link_;
  grpc::ClientContext context_;
};

RankLink::RankLink(uint32_t rank, uint32_t size, std::string address)
    : rank_(rank), size_(size), fixed_(!address.empty()), address_(std::move(address)) {}

absl::Status RankLink::Announced(const std::string& address) {
  MutexLock lock(&mutex_);
  const bool there =
      channel_ != nullptr && answers_ && channel_->GetState(false) == GRPC_CHANNEL_READY;
  if (address != address_ && (fixed_ || there)) {
    return absl::AlreadyExistsError(
        absl::StrCat("rank ", rank_, " is taken by the worker at ", address_));
  }
  if (address == address_) return absl::OkStatus();
  log::Info("worker announced", {{"rank", rank_}, {"address", address}});
  address_ = address;
  changed_.SignalAll();
  return absl::OkStatus();
}

bool RankLink::Forget() {
  if (fixed_) return false;
  MutexLock lock(&mutex_);
  address_.clear();
  dialled_.clear();
  channel_.reset();
  return true;
}

void RankLink::Distrust() {
  MutexLock lock(&mutex_);
  answers_ = false;
}

void RankLink::Cancel() {
  MutexLock lock(&mutex_);
  cancelled_ = true;
  if (call_ != nullptr) call_->TryCancel();
  changed_.SignalAll();
}

void RankLink::Begin() {
  MutexLock lock(&mutex_);
  cancelled_ = false;
}

bool RankLink::cancelled() {
  MutexLock lock(&mutex_);
  return cancelled_;
}

bool RankLink::Moved(const std::string& address) {
  MutexLock lock(&mutex_);
  return address_ != address;
}

absl::Status RankLink::Dial() {
  std::shared_ptr<grpc::Channel> channel;
  {
    MutexLock lock(&mutex_);
    while (address_.empty() && !cancelled_) changed_.Wait(&mutex_);
    if (cancelled_) return absl::CancelledError("given up");
    if (address_ != dialled_) {
      channel_ = MakeChannel(address_);
      stub_ = v1::Worker::NewStub(channel_);
      dialled_ = address_;
    }
    channel = channel_;
  }
  absl::Time next_message = RealClock()->Now() + 2 * kMessageInterval;
  while (true) {
    if (cancelled()) return absl::CancelledError("given up");
    if (channel->WaitForConnected(std::chrono::system_clock::now() + kDialSlice)) break;
    if (Moved(dialled_)) return absl::UnavailableError("the worker announced another address");
    if (RealClock()->Now() < next_message) continue;
    log::Info("waiting for the worker", {{"rank", rank_}, {"address", dialled_}});
    next_message = RealClock()->Now() + 2 * kMessageInterval;
  }
  return absl::OkStatus();
}

absl::Status RankLink::CheckAlive(absl::Duration patience) {
  Call call(this, patience);
  v1::HealthResponse health;
  RETURN_IF_ERROR(FromGrpc(stub_->Health(call.context(), v1::HealthRequest(), &health)));
  MutexLock lock(&mutex_);
  answers_ = true;
  return absl::OkStatus();
}

absl::StatusOr<v1::ModelInfo> RankLink::LoadModel(const ModelSource& source) {
  Call call(this, kLoadTimeout);
  v1::LoadModelRequest request;
  request.set_protocol_version(kProtocolVersion);
  request.set_model(source.model);
  request.set_dtype(source.dtype);
  request.set_load_format(source.load_format);
  request.set_rank(rank_);
  request.set_size(size_);
  const auto reader = stub_->LoadModel(call.context(), request);
  v1::LoadModelProgress progress;
  bool done = false;
  absl::Time next_message = RealClock()->Now() + kMessageInterval;
  while (!done && reader->Read(&progress)) {
    done = progress.done();
    if (done || RealClock()->Now() < next_message) continue;
    log::Info("loading the model",
              {{"rank", rank_}, {"bytes", progress.bytes_read()}, {"of", progress.bytes_total()}});
    next_message = RealClock()->Now() + kMessageInterval;
  }
  absl::Status status = FromGrpc(reader->Finish());
  if (absl::IsFailedPrecondition(status)) {
    // It holds another model, or speaks another version of the protocol; it will go on so.
    return absl::InvalidArgumentError(status.message());
  }
  RETURN_IF_ERROR(status);
  if (!done) return absl::InternalError("the worker ended LoadModel without a model");
  return progress.model();
}

absl::StatusOr<v1::ProfileResponse> RankLink::Profile(const core::GroupCapacity& capacity,
                                                      absl::Duration patience) {
  Call call(this, patience);
  v1::ProfileRequest request;
  request.set_block_size(capacity.block_size);
  request.set_max_lanes(capacity.max_lanes);
  request.set_max_step_tokens(capacity.max_step_tokens);
  request.set_max_model_len(capacity.max_model_len);
  v1::ProfileResponse profile;
  RETURN_IF_ERROR(FromGrpc(stub_->Profile(call.context(), request, &profile)));
  return profile;
}

absl::StatusOr<std::string> RankLink::Configure(const core::OpenEpoch& open) {
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
  RETURN_IF_ERROR(FromGrpc(stub_->Configure(call.context(), request, &response)));
  return response.endpoint();
}

}  // namespace pagoda
