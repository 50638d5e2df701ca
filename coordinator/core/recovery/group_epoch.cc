#include "coordinator/core/recovery/group_epoch.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace pagoda::core {

void GroupEpoch::Begin(Epoch last, absl::Duration allowance) {
  CHECK(state_ == State::kAbsent);
  state_ = State::kOpening;
  epoch_ = Epoch(std::max(epoch_, last).value() + 1);
  unanswered_.push_back({Step(0), allowance});
  begins_ = true;
}

void GroupEpoch::Tick(absl::Time now) {
  if (!std::exchange(begins_, false)) return;
  deadline_ = now + unanswered_.front().allowance;
}

void GroupEpoch::Sent(Step step, absl::Time now, absl::Duration allowance) {
  CHECK(state_ == State::kOpen);
  if (unanswered_.empty()) deadline_ = now + allowance;
  unanswered_.push_back({step, allowance});
}

absl::Status GroupEpoch::Answered(Step step) {
  if (unanswered_.empty() || unanswered_.front().step != step) {
    return absl::FailedPreconditionError(absl::StrCat(
        "answer to step ",
        step.value(),
        unanswered_.empty() ? ", but no step is unanswered"
                            : absl::StrCat(", expected ", unanswered_.front().step.value())));
  }
  state_ = State::kOpen;
  unanswered_.erase(unanswered_.begin());
  deadline_ = absl::InfiniteFuture();
  begins_ = !unanswered_.empty();
  return absl::OkStatus();
}

void GroupEpoch::Finish() {
  state_ = State::kAbsent;
  unanswered_.clear();
  begins_ = false;
  deadline_ = absl::InfiniteFuture();
}

}  // namespace pagoda::core
