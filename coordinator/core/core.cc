#include "coordinator/core/core.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "coordinator/core/core_impl.h"

namespace pagoda::core {

void Core::Impl::On(Tick& event) {
  now_ = std::max(now_, event.now);
  while (!deadlines_.empty() && deadlines_.begin()->first <= now_) {
    Sequence* sequence = Find(deadlines_.begin()->second);
    Finish(sequence,
           absl::DeadlineExceededError("the request's deadline passed"),
           FinishReason::kNone);
  }
  for (auto& [id, group] : groups_) {
    group.epoch.Tick(now_);
    if (group.epoch.deadline() <= now_) Fail(id, &group, "a step was not answered in time");
    if (group.epoch.state() == GroupEpoch::State::kOpen) Plan(id, &group);
  }
}

void Core::Impl::Plan(GroupId id, Group* group) {
  while (group->scheduler.CanPlan()) {
    const bool digest = (group->planned_steps + 1) % options_.digest_interval == 0;
    const GroupScheduler::SentPlan* sent = group->scheduler.Schedule(group->epoch.epoch(), digest);
    if (sent == nullptr) return;
    ++group->planned_steps;
    const absl::Duration floor =
        group->cost.calibrated() ? options_.step_timeout
                                 : std::max(options_.step_timeout, options_.uncalibrated_timeout);
    const absl::Duration timeout = std::max(floor, 10 * group->cost.Predict(sent->tokens));
    group->epoch.Sent(sent->plan.step, now_, timeout);
    actions_->push_back(SendPlan{.group = id, .plan = &sent->plan, .timeout = timeout});
  }
}

CoreStats Core::Impl::stats() const {
  CoreStats stats;
  stats.waiting = accepting_;
  for (const auto& [id, group] : groups_) {
    stats.running += group.scheduler.running();
    stats.waiting += group.scheduler.waiting();
    stats.total_blocks += group.scheduler.pool().num_blocks();
    stats.free_blocks += group.scheduler.pool().num_free();
    stats.steps += group.scheduler.counts().steps;
    stats.processed_tokens += group.scheduler.counts().processed_tokens;
    stats.preemptions += group.scheduler.counts().preemptions;
    stats.ready |= group.epoch.state() == GroupEpoch::State::kOpen;
  }
  stats.generated_tokens = generated_;
  stats.epochs = epochs_;
  stats.finished_requests = finished_;
  stats.draining = draining_;
  return stats;
}

absl::Time Core::Impl::NextDeadline() const {
  absl::Time next = deadlines_.empty() ? absl::InfiniteFuture() : deadlines_.begin()->first;
  for (const auto& [id, group] : groups_) next = std::min(next, group.epoch.deadline());
  return next;
}

void Core::Impl::CheckInvariants() const {
  size_t scheduled = 0;
  for (const auto& [id, group] : groups_) {
    group.scheduler.CheckInvariants();
    scheduled += group.scheduler.waiting() + group.scheduler.running();
    const bool open = group.epoch.state() == GroupEpoch::State::kOpen;
    CHECK(open || group.scheduler.running() == 0) << " only an open group runs sequences";
  }
  size_t ending = 0;
  for (const auto& [id, sequence] : sequences_) {
    ending += sequence->state == Sequence::State::kEnding;
    CHECK_EQ(sequence->generated(), sequence->spec.log->size());
    CHECK_LE(sequence->generated(), sequence->spec.max_tokens);
    CHECK(!Lives(sequence.get()) || !sequence->complete());
  }
  CHECK_EQ(scheduled + ending + accepting_, sequences_.size());
  CHECK_LE(undurable_.size(), journal_end_);
}

Core::Core(const CoreOptions& options) : impl_(std::make_unique<Impl>(options)) {}
Core::~Core() = default;

void Core::Apply(Event event, Actions* actions) {
  impl_->Apply(std::move(event), actions);
#ifdef PAGODA_INVARIANTS
  impl_->CheckInvariants();
#endif
}

CoreStats Core::stats() const { return impl_->stats(); }
bool Core::idle() const { return impl_->idle(); }
absl::Time Core::NextDeadline() const { return impl_->NextDeadline(); }
void Core::CheckInvariants() const { impl_->CheckInvariants(); }

}  // namespace pagoda::core
