#include "coordinator/core/scheduler/policy.h"

namespace pagoda::core {
namespace {

class ArrivalOrder final : public Order {
 public:
  bool Before(const Sequence& a, const Sequence& b) const override { return a.arrival < b.arrival; }
};

class LatestVictim final : public Victim {
 public:
  size_t Choose(absl::Span<Sequence* const> candidates) const override {
    return candidates.size() - 1;
  }
};

class HistoryFits final : public Admission {
 public:
  bool Admit(const View& view) const override {
    return view.blocks_needed <= view.free_blocks || view.running == 0;
  }
};

}  // namespace

Policies FirstComeFirstServed() {
  static const ArrivalOrder order;
  static const LatestVictim victim;
  static const HistoryFits admission;
  return {&order, &victim, &admission};
}

}  // namespace pagoda::core
