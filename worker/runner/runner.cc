#include "worker/runner/runner.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/status.h"
#include "worker/runner/plan_ops.h"
#include "worker/runner/step_builder.h"

namespace pagoda {
namespace {

// Bounds under which sizes stay within 32 bits; the device's own limits may be lower.
constexpr uint32_t kMaxCount = 1u << 28;

absl::Status CheckConfig(const v1::ConfigureRequest& config) {
  const uint32_t size = config.block_size();
  if (size < 8 || size > 128 || (size & (size - 1)) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("block_size is ", size, "; it must be 8, 16, 32, 64 or 128"));
  }
  const std::pair<const char*, uint32_t> counts[] = {{"num_blocks", config.num_blocks()},
                                                     {"max_lanes", config.max_lanes()},
                                                     {"max_step_tokens", config.max_step_tokens()},
                                                     {"max_model_len", config.max_model_len()}};
  for (const auto& [name, count] : counts) {
    if (count >= 1 && count <= kMaxCount) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(name, " is ", count, "; it must be 1 to ", kMaxCount));
  }
  if (config.epoch() == 0) return absl::InvalidArgumentError("epoch is 0; epochs count from 1");
  return absl::OkStatus();
}

LaneLimits LaneLimitsOf(const v1::ConfigureRequest& config, const ModelConfig& model) {
  return {.max_lanes = static_cast<int32_t>(config.max_lanes()),
          .max_model_len = static_cast<int32_t>(config.max_model_len()),
          .block_size = static_cast<int32_t>(config.block_size()),
          .num_blocks = static_cast<int32_t>(config.num_blocks()),
          .vocab_size = static_cast<int32_t>(model.vocab_size)};
}

void AddLogprobs(const SampledToken& token,
                 int32_t wanted,
                 const StepOutput& output,
                 v1::StepResult* result) {
  v1::TokenLogprobs* logprobs = result->add_logprobs();
  if (wanted < 0 || token.token < 0) return;
  logprobs->set_logprob(token.logprob);
  for (int32_t i = 0; i < token.top_count; ++i) {
    const TokenLogprob& top = output.top[token.top_begin + i];
    logprobs->add_top_tokens(static_cast<uint32_t>(top.token));
    logprobs->add_top_logprobs(top.logprob);
    if (top.token == token.token) logprobs->set_rank(static_cast<uint32_t>(i) + 1);
  }
}

}  // namespace

// A plan that was submitted and is not collected.
struct Runner::Pending {
  PreparedStep* step = nullptr;  // null: the plan had no rows, or its tokens are here
  std::vector<SampleRow> rows;
  std::vector<PendingToken> tokens;  // by row
  v1::StepResult result;
  std::chrono::steady_clock::time_point submitted;
};

// Everything that ends with the epoch.
struct Runner::Epoch {
  Epoch(uint64_t id,
        const LaneLimits& limits,
        int32_t max_step_tokens,
        int32_t window,
        Backend& backend,
        std::unique_ptr<KvPool> kv_pool)
      : id(id),
        pool(std::move(kv_pool)),
        lanes(limits),
        ops(lanes, backend, *pool),
        builder(lanes, max_step_tokens, window) {}

  const uint64_t id;
  uint64_t next_step = 1;
  std::unique_ptr<Rendezvous> rendezvous;  // until Connect
  const std::unique_ptr<KvPool> pool;
  Lanes lanes;
  PlanOps ops;
  StepBuilder builder;
  std::array<Pending, kMaxPending> pending;  // plan i's place is i % kMaxPending
  uint64_t next_collected = 1;

  Pending& PlaceOf(uint64_t step) { return pending[step % kMaxPending]; }
};

absl::StatusOr<std::unique_ptr<Runner>> Runner::Load(const RunnerOptions& options,
                                                     LoadProgress progress) {
  ASSIGN_OR_RETURN(const CommBackend comm_backend, ParseCommBackend(options.comm_backend));
  CHECK(options.device != nullptr);
  ASSIGN_OR_RETURN(std::unique_ptr<Backend> backend, options.device(options.shard.rank));
  backend->OnStepDone(options.step_done);
  ASSIGN_OR_RETURN(LoadedModel model,
                   LoadModel({.directory = options.model,
                              .dtype = options.dtype,
                              .load_format = options.load_format,
                              .shard = options.shard,
                              .backend_kind = backend->info().kind,
                              .numeric_contract = kNumericContract,
                              .memory_limit_bytes = backend->memory().available},
                             *backend,
                             progress));
  const CommOptions comm = {.rank = options.shard.rank,
                            .size = options.shard.size,
                            .backend = comm_backend,
                            .interface = options.comm_interface};
  return absl::WrapUnique(new Runner(  // its constructor is private
      std::move(backend),
      std::move(model),
      comm,
      options.step_done));
}

Runner::Runner(std::unique_ptr<Backend> backend,
               LoadedModel model,
               const CommOptions& comm,
               std::function<void()> step_done)
    : backend_(std::move(backend)),
      decoder_(*backend_, std::move(model)),
      comm_options_(comm),
      step_done_(std::move(step_done)) {}

Runner::~Runner() = default;

uint64_t Runner::kv_bytes_per_token() const {
  constexpr int32_t kBlockSize = 16;  // any
  return decoder_.MakeKvLayout(kBlockSize).BlockBytes() / kBlockSize;
}

StepLimits Runner::LimitsOf(const v1::ConfigureRequest& config) const {
  const LaneLimits lanes = LaneLimitsOf(config, model().config);
  const int32_t max_step_tokens = static_cast<int32_t>(config.max_step_tokens());
  const ModelConfig& sizes = model().config;
  const ShardSpec& shard = model().shard;
  return {.max_tokens = max_step_tokens,
          .max_lanes = lanes.max_lanes,
          .max_logits_rows = std::min(lanes.max_lanes, max_step_tokens),
          .max_sample_rows = lanes.max_lanes,
          .max_model_len = lanes.max_model_len,
          .block_size = lanes.block_size,
          .vocab_size = lanes.vocab_size,
          .num_q_heads = static_cast<int32_t>(ShardUnits(sizes.num_heads, shard)),
          .num_kv_heads = static_cast<int32_t>(ShardUnits(sizes.num_kv_heads, shard)),
          .head_dim = static_cast<int32_t>(sizes.head_dim)};
}

absl::StatusOr<uint64_t> Runner::PoolMemory(const v1::ProfileRequest& coming) const {
  v1::ConfigureRequest config;
  config.set_epoch(1);  // any
  config.set_num_blocks(1);
  config.set_block_size(coming.block_size());
  config.set_max_lanes(coming.max_lanes());
  config.set_max_step_tokens(coming.max_step_tokens());
  config.set_max_model_len(coming.max_model_len());
  RETURN_IF_ERROR(CheckConfig(config));
  const StepLimits limits = LimitsOf(config);
  return backend_->PoolMemory(limits, decoder_.ActivationBytes(limits));
}

absl::StatusOr<std::string> Runner::Configure(const v1::ConfigureRequest& config) {
  EndEpoch();
  RETURN_IF_ERROR(CheckConfig(config));
  const LaneLimits lanes = LaneLimitsOf(config, model().config);
  const StepLimits limits = LimitsOf(config);
  RETURN_IF_ERROR(backend_->Configure(limits));
  RETURN_IF_ERROR(decoder_.Configure(limits));
  ASSIGN_OR_RETURN(
      std::unique_ptr<KvPool> pool,
      backend_->MakeKvPool(decoder_.MakeKvLayout(lanes.block_size), lanes.num_blocks + 1));
  epoch_ = std::make_unique<Epoch>(config.epoch(),
                                   lanes,
                                   limits.max_tokens,
                                   decoder_.window(),
                                   *backend_,
                                   std::move(pool));
  CommOptions comm = comm_options_;
  comm.epoch = config.epoch();
  absl::StatusOr<std::unique_ptr<Rendezvous>> rendezvous = backend_->OpenRendezvous(comm);
  if (!rendezvous.ok()) {
    EndEpoch();
    return rendezvous.status();
  }
  epoch_->rendezvous = *std::move(rendezvous);
  return epoch_->rendezvous->endpoint();
}

absl::Status Runner::Connect(absl::Span<const std::string> endpoints) {
  if (epoch_->rendezvous == nullptr) {
    return absl::FailedPreconditionError("the ranks of this epoch have met");
  }
  absl::StatusOr<std::unique_ptr<Communicator>> comm = epoch_->rendezvous->Connect(endpoints);
  if (!comm.ok()) {
    EndEpoch();
    return comm.status();
  }
  epoch_->rendezvous.reset();
  SetCommunicator(*std::move(comm));
  return absl::OkStatus();
}

void Runner::EndEpoch() {
  if (epoch_ == nullptr) return;
  // With the communicator gone no step waits for other ranks; what is queued is off the device
  // before its memory goes.
  SetCommunicator(nullptr);
  for (Pending& pending : epoch_->pending) {
    if (pending.step != nullptr) static_cast<void>(backend_->Collect(*pending.step));
  }
  epoch_.reset();
}

void Runner::SetCommunicator(std::unique_ptr<Communicator> comm) {
  MutexLock lock(&comm_mutex_);
  comm_ = std::move(comm);
}

void Runner::Abort() {
  MutexLock lock(&comm_mutex_);
  if (comm_ != nullptr) comm_->Abort();
}

uint64_t Runner::epoch() const { return epoch_ == nullptr ? 0 : epoch_->id; }

const Lanes& Runner::lanes() const { return epoch_->lanes; }

KvPool& Runner::pool() { return *epoch_->pool; }

int Runner::pending() const {
  return epoch_ == nullptr ? 0 : static_cast<int>(epoch_->next_step - epoch_->next_collected);
}

absl::Status Runner::Step(const v1::Plan& plan, v1::StepResult* result) {
  RETURN_IF_ERROR(Submit(plan));
  return Collect(result);
}

absl::Status Runner::Fail(uint64_t step, const absl::Status& error) {
  EndEpoch();
  return absl::Status(error.code(), absl::StrCat("step ", step, ": ", error.message()));
}

absl::Status Runner::Submit(const v1::Plan& plan) {
  if (epoch_ == nullptr || comm_ == nullptr) {
    return absl::FailedPreconditionError("no epoch is open");
  }
  CHECK_LT(pending(), kMaxPending);
  const absl::Status status = DoPlan(plan);
  return status.ok() ? status : Fail(plan.step(), status);
}

absl::Status Runner::Collect(v1::StepResult* result) {
  CHECK_GT(pending(), 0);
  const uint64_t step = epoch_->next_collected;
  Pending& oldest = epoch_->PlaceOf(step);
  const absl::Status status = Settle(&oldest);
  if (!status.ok()) return Fail(step, status);
  result->Swap(&oldest.result);
  const auto now = std::chrono::steady_clock::now();
  const auto busy = now - std::max(oldest.submitted, last_collected_);
  result->set_busy_ns(std::chrono::nanoseconds(busy).count());
  last_collected_ = now;
  ++epoch_->next_collected;
  return absl::OkStatus();
}

absl::Status Runner::CheckHead(const v1::Plan& plan) const {
  if (plan.epoch() != epoch_->id) {
    return absl::FailedPreconditionError(
        absl::StrCat("a plan of epoch ", plan.epoch(), " in epoch ", epoch_->id));
  }
  if (plan.step() != epoch_->next_step) {
    return absl::FailedPreconditionError(
        absl::StrCat("a gap: step ", epoch_->next_step, " was to come"));
  }
  if (plan.snapshot() != (plan.step() == 1)) {
    return absl::InvalidArgumentError(absl::StrCat("snapshot is ",
                                                   plan.snapshot() ? "true" : "false",
                                                   "; the first plan alone is one"));
  }
  return CheckNoUnknownFields(plan);
}

absl::Status Runner::DoPlan(const v1::Plan& plan) {
  RETURN_IF_ERROR(CheckHead(plan));
  // These look at tokens that are being drawn.
  const bool looks = std::any_of(plan.ops().begin(), plan.ops().end(), [](const v1::Op& op) {
    return op.has_fork() || op.has_truncate();
  });
  if (looks && pending() > 0) RETURN_IF_ERROR(Settle(&epoch_->PlaceOf(plan.step() - 1)));
  Pending& pending = epoch_->PlaceOf(plan.step());
  pending.submitted = std::chrono::steady_clock::now();
  pending.result.Clear();
  pending.result.set_epoch(plan.epoch());
  pending.result.set_step(plan.step());
  RETURN_IF_ERROR(epoch_->ops.Apply(plan));
  if (plan.digest()) pending.result.set_table_digest(epoch_->lanes.Digest());
  RETURN_IF_ERROR(epoch_->builder.Build(plan.rows()));
  if (!epoch_->builder.input().sequences.empty()) {
    // Without a limit of its own a plan is bound by the coordinator's patience alone.
    comm_->SetDeadline(plan.timeout_ms() == 0
                           ? absl::InfiniteFuture()
                           : RealClock()->Now() + absl::Milliseconds(plan.timeout_ms()));
    RETURN_IF_ERROR(RunRows(&pending));
    AdvanceLanes(&pending);
  } else {
    step_done_();
  }
  epoch_->lanes.EndPlan();
  ++epoch_->next_step;
  return absl::OkStatus();
}

absl::Status Runner::RunRows(Pending* pending) {
  ASSIGN_OR_RETURN(PreparedStep * step, backend_->Prepare(epoch_->builder.input(), *epoch_->pool));
  pending->step = step;  // to be off the device also after an error
  return QueueRows(*step);
}

absl::Status Runner::QueueRows(PreparedStep& step) {
  RETURN_IF_ERROR(backend_->Run(step, [&](LayerOps& ops) {
    return decoder_.Forward(ops, step.num_rows(), step.num_logits_rows(), *epoch_->pool, *comm_);
  }));
  const absl::Span<const SampleRow> rows = epoch_->builder.sample_rows();
  const TensorView logits =
      is_first() && !rows.empty() ? decoder_.Logits(step.num_logits_rows()) : TensorView{};
  return backend_->Sample(step, logits, rows, *comm_);
}

void Runner::AdvanceLanes(Pending* pending) {
  const StepBuilder& builder = epoch_->builder;
  Lanes& lanes = epoch_->lanes;
  for (const SequenceInput& sequence : builder.input().sequences) lanes.SentTable(sequence.lane);
  for (int32_t lane : lanes.bound()) lanes.Advance(lane, builder.tokens(lane));
  pending->rows.assign(builder.sample_rows().begin(), builder.sample_rows().end());
  pending->tokens.clear();
  for (const SampleRow& row : pending->rows) pending->tokens.push_back(lanes.Draw(row.lane));
}

absl::Status Runner::Settle(Pending* pending) {
  if (pending->step == nullptr) return absl::OkStatus();
  PreparedStep& step = *std::exchange(pending->step, nullptr);
  ASSIGN_OR_RETURN(const StepOutput* const output, backend_->Collect(step));
  RETURN_IF_ERROR(comm_->status());
  for (size_t i = 0; i < pending->tokens.size(); ++i) {
    epoch_->lanes.Learn(pending->tokens[i], std::max(output->tokens[i].token, 0));
  }
  if (is_first()) Answer(*output, pending);
  return absl::OkStatus();
}

void Runner::Answer(const StepOutput& output, Pending* pending) const {
  const std::vector<SampleRow>& rows = pending->rows;
  v1::StepResult* const result = &pending->result;
  const bool logprobs = std::any_of(rows.begin(), rows.end(), [](const SampleRow& row) {
    return row.params.logprobs >= 0;
  });
  for (size_t i = 0; i < rows.size(); ++i) {
    const SampledToken& sampled = output.tokens[i];
    result->add_tokens(static_cast<uint32_t>(std::max(sampled.token, 0)));
    if (logprobs) AddLogprobs(sampled, rows[i].params.logprobs, output, result);
    if (sampled.token >= 0) continue;
    v1::RowError* error = result->add_errors();
    error->set_lane(static_cast<uint32_t>(rows[i].lane));
    error->set_message("the model gave no usable logits (NaN or infinity)");
  }
}

}  // namespace pagoda
