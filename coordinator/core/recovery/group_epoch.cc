#include "coordinator/core/recovery/group_epoch.h"

#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace pagoda::core {

void GroupEpoch::Begin(absl::Time now, absl::Duration allowance) {
  CHECK(state_ == State::kAbsent);
  state_ = State::kOpening;
  epoch_ = Epoch(epoch_.value() + 1);
  unanswered_.push_back({Step(0), allowance});
  deadline_ = now + allowance;
}

void GroupEpoch::Sent(Step step, absl::Time now, absl::Duration allowance) {
  CHECK(state_ == State::kOpen);
  if (unanswered_.empty()) deadline_ = now + allowance;
  unanswered_.push_back({step, allowance});
}

absl::Status GroupEpoch::Answered(Step step, absl::Time now) {
  if (unanswered_.empty() || unanswered_.front().step != step) {
    return absl::FailedPreconditionError(absl::StrCat(
        "answer to step ",
        step.value(),
        unanswered_.empty() ? ", but no step is unanswered"
                            : absl::StrCat(", expected ", unanswered_.front().step.value())));
  }
  state_ = State::kOpen;
  unanswered_.pop_front();
  deadline_ = unanswered_.empty() ? absl::InfiniteFuture() : now + unanswered_.front().allowance;
  return absl::OkStatus();
}

void GroupEpoch::Finish() {
  state_ = State::kAbsent;
  unanswered_.clear();
  deadline_ = absl::InfiniteFuture();
}

}  // namespace pagoda::core
