#include "coordinator/core/recovery/group_epoch.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace pagoda::core {

void GroupEpoch::Begin(Epoch last, uint32_t ranks, absl::Duration allowance) {
  CHECK(state_ == State::kAbsent);
  CHECK(ranks >= 1 && ranks <= kMaxRanks);
  state_ = State::kOpening;
  epoch_ = Epoch(std::max(epoch_, last).value() + 1);
  all_ = static_cast<uint32_t>((uint64_t{1} << ranks) - 1);
  Add(Step(0), allowance);
  begins_ = true;
}

void GroupEpoch::Add(Step step, absl::Duration allowance) {
  unanswered_.push_back({.step = step, .allowance = allowance, .missing = all_});
}

void GroupEpoch::Tick(absl::Time now) {
  if (!std::exchange(begins_, false)) return;
  deadline_ = now + unanswered_.front().allowance;
}

void GroupEpoch::Sent(Step step, absl::Time now, absl::Duration allowance) {
  CHECK(state_ == State::kOpen);
  if (unanswered_.empty()) deadline_ = now + allowance;
  Add(step, allowance);
}

absl::Status GroupEpoch::Answered(uint32_t rank, Step step, uint64_t digest) {
  if (rank >= kMaxRanks || (all_ >> rank & 1) == 0) {
    return absl::FailedPreconditionError(absl::StrCat("answer of rank ", rank, ", which is none"));
  }
  const auto next = std::find_if(unanswered_.begin(), unanswered_.end(), [rank](const auto& step) {
    return (step.missing >> rank & 1) != 0;
  });
  if (next == unanswered_.end() || next->step != step) {
    return absl::FailedPreconditionError(
        absl::StrCat("answer to step ",
                     step.value(),
                     next == unanswered_.end() ? ", but no step is unanswered"
                                               : absl::StrCat(", expected ", next->step.value())));
  }
  if (next->missing != all_ && next->digest != digest) {
    return absl::DataLossError(
        absl::StrCat("rank ",
                     rank,
                     " has other block tables than the ranks before it, at step ",
                     step.value()));
  }
  next->digest = digest;
  next->missing &= ~(1u << rank);
  return absl::OkStatus();
}

std::optional<Step> GroupEpoch::TakeComplete() {
  if (unanswered_.empty() || unanswered_.front().missing != 0) return std::nullopt;
  const Step step = unanswered_.front().step;
  state_ = State::kOpen;
  unanswered_.erase(unanswered_.begin());
  deadline_ = absl::InfiniteFuture();
  begins_ = !unanswered_.empty();
  return step;
}

void GroupEpoch::Finish() {
  state_ = State::kAbsent;
  unanswered_.clear();
  begins_ = false;
  deadline_ = absl::InfiniteFuture();
}

}  // namespace pagoda::core
