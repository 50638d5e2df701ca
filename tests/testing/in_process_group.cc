#include "tests/testing/in_process_group.h"

#include <cstring>
#include <utility>

#include "absl/memory/memory.h"
#include "common/log.h"
#include "common/status.h"
#include "proto/pagoda/v1/worker.pb.h"
#include "tests/testing/open_epoch.h"

namespace pagoda::testing {
namespace {

v1::ConfigureRequest ToConfigure(const core::OpenEpoch& open) {
  v1::ConfigureRequest config;
  config.set_protocol_version(1);
  config.set_epoch(open.epoch.value());
  config.set_block_size(open.capacity.block_size);
  config.set_num_blocks(open.capacity.num_blocks);
  config.set_max_lanes(open.capacity.max_lanes);
  config.set_max_step_tokens(open.capacity.max_step_tokens);
  config.set_max_model_len(open.capacity.max_model_len);
  return config;
}

core::StepDone ToStepDone(core::GroupId group, const v1::StepResult& from) {
  core::StepDone done;
  done.group = group;
  done.epoch = core::Epoch(from.epoch());
  done.step = core::Step(from.step());
  done.table_digest = from.table_digest();
  done.tokens.assign(from.tokens().begin(), from.tokens().end());
  for (const v1::TokenLogprobs& logprobs : from.logprobs()) {
    core::TokenLogprobs& to = done.logprobs.emplace_back();
    to.logprob = logprobs.logprob();
    to.rank = logprobs.rank();
    for (int i = 0; i < logprobs.top_tokens_size(); ++i) {
      to.top.push_back({static_cast<int32_t>(logprobs.top_tokens(i)), logprobs.top_logprobs(i)});
    }
  }
  for (const v1::RowError& error : from.errors()) {
    done.failures.push_back({static_cast<int32_t>(error.lane()), error.message()});
  }
  done.busy = absl::Nanoseconds(from.busy_ns());
  return done;
}

}  // namespace

absl::StatusOr<std::unique_ptr<InProcessGroup>> InProcessGroup::Make(
    const InProcessOptions& options,
    EventSink sink) {
  ASSIGN_OR_RETURN(std::unique_ptr<Runner> runner, Runner::Load(options.runner, [](auto...) {}));
  return absl::WrapUnique(new InProcessGroup(options, std::move(runner), std::move(sink)));
}

InProcessGroup::InProcessGroup(const InProcessOptions& options,
                               std::unique_ptr<Runner> runner,
                               EventSink sink)
    : options_(options),
      sink_(std::move(sink)),
      runner_(std::move(runner)),
      thread_([this] { Run(); }) {}

InProcessGroup::~InProcessGroup() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    changed_.SignalAll();
  }
  thread_.join();
}

void InProcessGroup::OpenEpoch(const core::OpenEpoch& open) {
  MutexLock lock(&mutex_);
  wanted_ = open;
  epoch_ = open.epoch.value();
  lost_.reset();
  plans_.clear();
  changed_.SignalAll();
}

void InProcessGroup::SendPlan(const core::SendPlan& send) {
  const core::StepPlan& plan = *send.plan;
  const absl::string_view bytes = encoder_.Encode(plan, send.timeout);
  MutexLock lock(&mutex_);
  if (plan.epoch.value() != epoch_ || lost_.has_value()) return;
  plans_.emplace_back(bytes);
  changed_.SignalAll();
}

void InProcessGroup::Drop(const core::Drop& drop) {
  MutexLock lock(&mutex_);
  if (drop.epoch.value() != epoch_) return;
  lost_ = drop.reason;
  changed_.SignalAll();
}

bool InProcessGroup::Kill() {
  MutexLock lock(&mutex_);
  if (epoch_ == 0) return false;
  lost_ = "killed";
  changed_.SignalAll();
  return true;
}

uint64_t InProcessGroup::steps() const {
  MutexLock lock(&mutex_);
  return steps_;
}

void InProcessGroup::Run() {
  for (absl::Status why = RunOnce(); !why.ok(); why = RunOnce()) {
    log::Warning("in-process worker starts over", {{"reason", why.ToString()}});
  }
}

absl::Status InProcessGroup::RunOnce() {
  sink_(core::GroupJoined{.group = options_.group, .capacity = options_.capacity});
  std::optional<core::OpenEpoch> open;
  {
    MutexLock lock(&mutex_);
    while (!wanted_.has_value() && !stopping_) changed_.Wait(&mutex_);
    if (stopping_) return absl::OkStatus();
    open = std::exchange(wanted_, std::nullopt);
  }
  const absl::Status why = ServeEpoch(*open);
  runner_->EndEpoch();
  if (why.ok()) return why;
  {
    MutexLock lock(&mutex_);
    epoch_ = 0;
  }
  sink_(core::GroupLost{.group = options_.group,
                        .epoch = open->epoch,
                        .reason = std::string(why.message())});
  return why;
}

absl::Status InProcessGroup::ServeEpoch(const core::OpenEpoch& open) {
  RETURN_IF_ERROR(testing::OpenEpoch(*runner_, ToConfigure(open)));
  held_.assign(open.capacity.num_blocks + 1, true);
  if (options_.poison_free_blocks) Poison();
  core::StepDone opened;
  opened.group = options_.group;
  opened.epoch = open.epoch;
  opened.step = core::Step(0);
  sink_(std::move(opened));
  while (true) {
    std::string plan;
    {
      MutexLock lock(&mutex_);
      while (plans_.empty() && !lost_.has_value() && !stopping_) changed_.Wait(&mutex_);
      if (stopping_) return absl::OkStatus();
      if (lost_.has_value()) return absl::AbortedError(*lost_);
      plan = std::move(plans_.front());
      plans_.pop_front();
    }
    RETURN_IF_ERROR(Step(plan));
  }
}

absl::Status InProcessGroup::Step(const std::string& bytes) {
  v1::Plan plan;
  if (!plan.ParseFromString(bytes)) return absl::InvalidArgumentError("not a plan");
  v1::StepResult result;
  RETURN_IF_ERROR(runner_->Step(plan, &result));
  if (options_.poison_free_blocks) Poison();
  {
    MutexLock lock(&mutex_);
    if (lost_.has_value()) return absl::AbortedError(*lost_);
    ++steps_;
  }
  sink_(ToStepDone(options_.group, result));
  return absl::OkStatus();
}

void InProcessGroup::Poison() {
  std::vector<bool> held(held_.size());
  for (int32_t lane : runner_->lanes().bound()) {
    for (int32_t block : runner_->lanes().lane(lane).blocks) held[block] = true;
  }
  KvPool& pool = runner_->pool();
  for (size_t block = 0; block < held.size(); ++block) {
    if (!held_[block] || held[block]) continue;
    std::memset(pool.block(static_cast<int32_t>(block)), 0xff, pool.layout().BlockBytes());
  }
  held_ = std::move(held);
}

}  // namespace pagoda::testing
