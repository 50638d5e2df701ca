#include "coordinator/transport/grpc_group.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/status.h"

namespace pagoda {
namespace {

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

core::TokenLogprobs FromProto(const v1::TokenLogprobs& from) {
  core::TokenLogprobs to{.logprob = from.logprob(), .rank = from.rank()};
  const int count = std::min(from.top_tokens_size(), from.top_logprobs_size());
  for (int i = 0; i < count; ++i) {
    to.top.push_back({static_cast<int32_t>(from.top_tokens(i)), from.top_logprobs(i)});
  }
  return to;
}

core::StepDone FromProto(core::GroupId group, uint32_t rank, const v1::StepResult& from) {
  core::StepDone done{.group = group,
                      .rank = rank,
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
    : options_(std::move(options)), sink_(std::move(sink)) {
  const uint32_t size = static_cast<uint32_t>(options_.addresses.size());
  for (uint32_t rank = 0; rank < size; ++rank) {
    ranks_.push_back(std::make_unique<RankLink>(rank, size, options_.addresses[rank]));
  }
  thread_ = std::thread([this] { Run(); });
}

GrpcGroup::~GrpcGroup() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    EndCalls(absl::CancelledError("the server stops"));
    changed_.SignalAll();
  }
  thread_.join();
}

bool GrpcGroup::IsLocal() const {
  return std::find(options_.addresses.begin(), options_.addresses.end(), "") ==
         options_.addresses.end();
}

bool GrpcGroup::stopping() {
  MutexLock lock(&mutex_);
  return stopping_;
}

std::string GrpcGroup::Named(uint32_t rank, absl::string_view message) const {
  return size() == 1 ? std::string(message) : absl::StrCat("rank ", rank, ": ", message);
}

void GrpcGroup::EndCalls(const absl::Status& why) {
  for (const auto& rank : ranks_) rank->Cancel();
  for (const auto& stream : streams_) {
    if (stream != nullptr) stream->Cancel(why);
  }
}

absl::Status GrpcGroup::Announced(const v1::JoinRequest& request) {
  if (request.size() != size()) {
    return absl::InvalidArgumentError(absl::StrCat("the worker is of a group of ",
                                                   request.size(),
                                                   " ranks, this one has ",
                                                   size()));
  }
  return ranks_[request.rank()]->Announced(request.address());
}

// Engine thread.

void GrpcGroup::OpenEpoch(const core::OpenEpoch& open) {
  MutexLock lock(&mutex_);
  wanted_ = open;
  current_ = open.epoch.value();
  dropped_ = progress_ = false;
  changed_.SignalAll();
}

void GrpcGroup::SendPlan(const core::SendPlan& send) {
  const absl::string_view bytes = encoder_.Encode(*send.plan, send.timeout);
  MutexLock lock(&mutex_);
  if (current_ != send.plan->epoch.value()) return;
  for (const auto& stream : streams_) {
    if (stream != nullptr) stream->SendPlan(bytes);
  }
}

void GrpcGroup::Drop(const core::Drop& drop) {
  MutexLock lock(&mutex_);
  // Of an incarnation that is over: the workers of the present one have done nothing wrong.
  if (drop.epoch.value() != current_) return;
  log::Error("epoch given up", {{"epoch", drop.epoch.value()}, {"reason", drop.reason}});
  dropped_ = true;
  EndCalls(absl::AbortedError(drop.reason));
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
    log::Warning("group lost", {{"reason", status.ToString()}});
    WaitBeforeRetry();
  }
}

void GrpcGroup::WaitBeforeRetry() {
  backoff_ = std::clamp(2 * backoff_, kFirstBackoff, kLastBackoff);
  const absl::Time until = RealClock()->Now() + backoff_;
  MutexLock lock(&mutex_);
  while (!stopping_ && RealClock()->Now() < until) changed_.WaitUntil(&mutex_, until);
}

absl::Status GrpcGroup::OnAllRanks(absl::FunctionRef<absl::Status(uint32_t rank)> fn) {
  absl::Status first;
  Mutex mutex;
  const auto run = [&](uint32_t rank) {
    absl::Status status = fn(rank);
    if (status.ok()) return;
    MutexLock lock(&mutex);
    if (!first.ok()) return;  // ended by the one before
    first = absl::Status(status.code(), Named(rank, status.message()));
    for (const auto& other : ranks_) other->Cancel();
  };
  std::vector<std::thread> helpers;
  for (uint32_t rank = 1; rank < size(); ++rank) helpers.emplace_back([&run, rank] { run(rank); });
  run(0);
  for (std::thread& helper : helpers) helper.join();
  return first;
}

absl::Status GrpcGroup::RunOnce() {
  {
    MutexLock lock(&mutex_);
    if (stopping_) return absl::CancelledError("the server stops");
    current_ = 0;
    dropped_ = progress_ = false;
    wanted_.reset();
    for (const auto& rank : ranks_) rank->Begin();
  }
  std::vector<v1::ModelInfo> models(size());
  RETURN_IF_ERROR(Load(&models));
  // Only now does the memory that is left say what the pool may take.
  std::vector<v1::ProfileResponse> profiles(size());
  RETURN_IF_ERROR(Profile(models, &profiles));
  RETURN_IF_ERROR(Meet(models, profiles));
  uint64_t last_epoch = 0;
  for (const auto& profile : profiles) last_epoch = std::max(last_epoch, profile.last_epoch());
  sink_(core::GroupJoined{.group = options_.group,
                          .ranks = size(),
                          .capacity = first_->capacity,
                          .last_epoch = core::Epoch(last_epoch)});
  const std::optional<core::OpenEpoch> open = WaitForEpoch();
  if (!open.has_value()) return absl::CancelledError("the server stops");
  absl::Status status = ServeEpoch(*open);
  sink_(core::GroupLost{.group = options_.group,
                        .epoch = open->epoch,
                        .reason = std::string(status.message())});
  return status;
}

absl::Status GrpcGroup::Suspicious(uint32_t rank, absl::Status status) {
  if (!absl::IsDeadlineExceeded(status)) return status;
  log::Warning("worker does not answer", {{"rank", rank}});
  ranks_[rank]->Distrust();
  options_.suspect(rank, "it does not answer");
  return status;
}

absl::Status GrpcGroup::Load(std::vector<v1::ModelInfo>* models) {
  return OnAllRanks([&](uint32_t rank) -> absl::Status {
    RankLink& link = *ranks_[rank];
    RETURN_IF_ERROR(link.Dial());
    RETURN_IF_ERROR(Suspicious(rank, link.CheckAlive(options_.patience)));
    absl::StatusOr<v1::ModelInfo> model = link.LoadModel(options_.source);
    if (!model.ok()) return Refused(rank, model.status());
    RETURN_IF_ERROR(Refused(rank, CheckSame(rank, *model)));
    (*models)[rank] = *std::move(model);
    return absl::OkStatus();
  });
}

absl::Status GrpcGroup::CheckSame(uint32_t rank, const v1::ModelInfo& model) const {
  if (!first_.has_value() || (model.identity() == first_models_[rank].identity() &&
                              model.divided_hash() == first_models_[rank].divided_hash())) {
    return absl::OkStatus();
  }
  return absl::DataLossError("the worker came back with another model, dtype or version");
}

absl::Status GrpcGroup::Refused(uint32_t rank, absl::Status status) {
  if (!first_.has_value() || !IsHopeless(status) || !ranks_[rank]->Forget()) return status;
  log::Error("worker refused", {{"rank", rank}, {"reason", status.message()}});
  return absl::UnavailableError(absl::StrCat("worker refused: ", status.message()));
}

absl::Status GrpcGroup::Profile(const std::vector<v1::ModelInfo>& models,
                                std::vector<v1::ProfileResponse>* profiles) {
  ASSIGN_OR_RETURN(const core::GroupCapacity capacity,
                   StepCapacity(options_.pool, models[0].max_position_embeddings()));
  return OnAllRanks([&](uint32_t rank) -> absl::Status {
    absl::StatusOr<v1::ProfileResponse> profile =
        ranks_[rank]->Profile(capacity, options_.patience);
    RETURN_IF_ERROR(Suspicious(rank, profile.status()));
    (*profiles)[rank] = *std::move(profile);
    return absl::OkStatus();
  });
}

absl::Status GrpcGroup::Meet(const std::vector<v1::ModelInfo>& models,
                             const std::vector<v1::ProfileResponse>& profiles) {
  if (first_.has_value()) return absl::OkStatus();
  ASSIGN_OR_RETURN(first_, PutTogether(models, profiles, options_.pool));
  first_models_ = models;
  options_.loaded(*first_);
  return absl::OkStatus();
}

std::optional<core::OpenEpoch> GrpcGroup::WaitForEpoch() {
  MutexLock lock(&mutex_);
  // The core answers every GroupJoined, so this wait ends.
  while (!wanted_.has_value() && !stopping_) changed_.Wait(&mutex_);
  return std::exchange(wanted_, std::nullopt);
}

std::unique_ptr<StepStream> GrpcGroup::OpenStream(uint32_t rank,
                                                  const core::OpenEpoch& open,
                                                  const std::vector<std::string>& endpoints) {
  StepStream::Callbacks callbacks;
  callbacks.answered = [this, rank](const v1::StepResult& result) {
    if (rank == 0 && result.step() > 0) {
      MutexLock lock(&mutex_);
      progress_ = true;
    }
    sink_(FromProto(options_.group, rank, result));
  };
  callbacks.ended = [this, rank](const absl::Status& status) { StreamEnded(rank, status); };
  return std::make_unique<StepStream>(ranks_[rank]->stub(),
                                      open.epoch.value(),
                                      endpoints,
                                      std::move(callbacks));
}

void GrpcGroup::StreamEnded(uint32_t rank, const absl::Status& status) {
  MutexLock lock(&mutex_);
  --open_streams_;
  if (stream_end_.ok()) {
    // However a stream ends, the next incarnation may do better.
    stream_end_ = absl::UnavailableError(Named(rank, status.message()));
    for (const auto& stream : streams_) {
      if (stream != nullptr) stream->Cancel(stream_end_);
    }
  }
  changed_.SignalAll();
}

absl::Status GrpcGroup::ServeEpoch(const core::OpenEpoch& open) {
  std::vector<std::string> endpoints(size());
  RETURN_IF_ERROR(OnAllRanks([&](uint32_t rank) -> absl::Status {
    ASSIGN_OR_RETURN(endpoints[rank], ranks_[rank]->Configure(open));
    return absl::OkStatus();
  }));
  MutexLock lock(&mutex_);
  if (stopping_ || dropped_) return absl::AbortedError("given up");
  stream_end_ = absl::OkStatus();
  for (uint32_t rank = 0; rank < size(); ++rank) {
    ++open_streams_;
    streams_.push_back(OpenStream(rank, open, endpoints));
  }
  while (open_streams_ > 0) changed_.Wait(&mutex_);
  streams_.clear();
  epochs_in_vain_ = progress_ ? 0 : epochs_in_vain_ + 1;
  if (progress_) backoff_ = absl::ZeroDuration();
  if (epochs_in_vain_ < kMaxEpochsInVain || !IsLocal()) return stream_end_;
  return absl::DataLossError(absl::StrCat(kMaxEpochsInVain,
                                          " epochs in a row ended without an answered step: ",
                                          stream_end_.message()));
}

}  // namespace pagoda
