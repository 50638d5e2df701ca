// Groups: joining, epochs, answers.
#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "coordinator/core/core_impl.h"

namespace pagoda::core {

void Core::Impl::On(GroupJoined& event) {
  const GroupCapacity& capacity = event.capacity;
  CHECK_GE(capacity.num_blocks, 1u);
  const auto [it, fresh] = groups_.try_emplace(event.group, capacity, options_);
  Group& group = it->second;
  if (group.epoch.state() != GroupEpoch::State::kAbsent) {
    Fail(event.group, &group, "the group joined again");
  }
  group.capacity = capacity;
  group.scheduler.Reset(capacity);
  group.planned_steps = 0;
  group.epoch.Begin(event.last_epoch, event.ranks, options_.open_timeout);
  actions_->push_back(
      OpenEpoch{.group = event.group, .epoch = group.epoch.epoch(), .capacity = capacity});
}

void Core::Impl::On(GroupLost& event) {
  const auto it = groups_.find(event.group);
  if (it == groups_.end() || it->second.epoch.epoch() != event.epoch) return;
  if (it->second.epoch.state() != GroupEpoch::State::kAbsent) Lose(&it->second);
}

void Core::Impl::Lose(Group* group) {
  group->epoch.Finish();
  group->answers.clear();
  group->scheduler.Reset(group->capacity);
}

void Core::Impl::Fail(GroupId id, Group* group, std::string reason) {
  actions_->push_back(
      Drop{.group = id, .epoch = group->epoch.epoch(), .reason = std::move(reason)});
  Lose(group);
}

void Core::Impl::On(StepDone& event) {
  const auto it = groups_.find(event.group);
  if (it == groups_.end() || it->second.epoch.epoch() != event.epoch) return;
  Group& group = it->second;
  if (group.epoch.state() == GroupEpoch::State::kAbsent) return;
  const absl::Status status = TakeAnswers(&group, &event);
  if (!status.ok()) Fail(it->first, &group, std::string(status.message()));
}

absl::Status Core::Impl::TakeAnswers(Group* group, StepDone* event) {
  absl::Status status = group->epoch.Answered(event->rank, event->step, event->table_digest);
  if (!status.ok()) return status;
  if (event->rank == 0) group->answers.push_back(std::move(*event));
  while (const std::optional<Step> step = group->epoch.TakeComplete()) {
    if (*step == Step(0)) {
      Opened(group);
    } else {
      status = TakeAnswer(group, &group->answers.front());
      if (!status.ok()) return status;
    }
    group->answers.erase(group->answers.begin());
  }
  return absl::OkStatus();
}

void Core::Impl::Opened(Group* group) {
  ++epochs_;
  for (Sequence* sequence : group->scheduler.Misfits()) {
    Finish(sequence, PoolTooSmall(group->capacity.num_blocks), FinishReason::kNone);
  }
}

absl::Status Core::Impl::TakeAnswer(Group* group, StepDone* event) {
  const GroupScheduler::SentPlan& sent = *group->scheduler.oldest();
  if (event->tokens.size() != sent.draws ||
      (!event->logprobs.empty() && event->logprobs.size() != sent.draws)) {
    return absl::InternalError(absl::StrCat("step ",
                                            event->step.value(),
                                            " was to draw ",
                                            sent.draws,
                                            " tokens, the answer has ",
                                            event->tokens.size()));
  }
  if (sent.plan.digest && event->table_digest != sent.digest) {
    return absl::DataLossError(
        absl::StrCat("block tables differ from the worker's at step ", event->step.value()));
  }
  for (const RowFailure& failure : event->failures) {
    if (failure.lane < 0 || static_cast<size_t>(failure.lane) >= sent.rows.size()) continue;
    Sequence* sequence = sent.rows[failure.lane].sequence;
    if (sequence == nullptr) continue;
    Finish(sequence, absl::InternalError(failure.message), FinishReason::kNone);
  }
  group->cost.Observe(sent.tokens, event->busy);
  group->scheduler.Answer([this, event](Sequence* sequence, size_t index) {
    TakeToken(sequence,
              event->tokens[index],
              event->logprobs.empty() ? nullptr : &event->logprobs[index]);
  });
  return absl::OkStatus();
}

void Core::Impl::TakeToken(Sequence* sequence, int32_t token, TokenLogprobs* logprobs) {
  sequence->Take(token, logprobs);
  ++generated_;
  actions_->emplace_back(Emit{.id = sequence->spec.id, .published = sequence->spec.log->size()});
  const auto& stops = sequence->spec.stop_token_ids;
  if (std::binary_search(stops.begin(), stops.end(), token)) {
    Finish(sequence, absl::OkStatus(), FinishReason::kStop);
  } else if (sequence->complete()) {
    Finish(sequence, absl::OkStatus(), FinishReason::kLength);
  }
}

}  // namespace pagoda::core
