#include "tests/coordinator/core/scheduler/scheduler_fixture.h"

#include <algorithm>

namespace pagoda::core {

void GroupSchedulerTest::Make(const GroupCapacity& capacity,
                              uint32_t depth,
                              const Policies& policies) {
  scheduler_ = std::make_unique<GroupScheduler>(capacity, depth, policies);
}

Sequence* GroupSchedulerTest::Add(uint32_t prompt, uint32_t max_tokens) {
  const uint64_t arrival = sequences_.size() + 1;
  RequestSpec spec;
  spec.id = RequestId(arrival);
  spec.log = std::make_shared<TokenLog>(false);
  spec.prompt.assign(prompt, static_cast<int32_t>(arrival));
  spec.max_tokens = max_tokens;
  sequences_.push_back(std::make_unique<Sequence>(std::move(spec), arrival));
  scheduler_->Enqueue(sequences_.back().get());
  return sequences_.back().get();
}

std::string GroupSchedulerTest::Plan(bool digest) {
  const GroupScheduler::SentPlan* sent = scheduler_->Schedule(Epoch(1), digest);
  scheduler_->CheckInvariants();
  return sent == nullptr ? "nothing" : PlanText(sent->plan);
}

std::vector<uint64_t> GroupSchedulerTest::Answer(const std::vector<uint64_t>& over) {
  std::vector<uint64_t> drew;
  size_t last = 0;
  scheduler_->Answer([&](Sequence* sequence, size_t index) {
    EXPECT_GE(index, last) << "tokens come in order";
    last = index;
    drew.push_back(sequence->arrival);
    sequence->Take(static_cast<int32_t>(100 * sequence->arrival + sequence->generated() + 1),
                   nullptr);
    const bool ends = std::find(over.begin(), over.end(), sequence->arrival) != over.end();
    if (ends || sequence->complete()) Remove(sequence);
  });
  scheduler_->CheckInvariants();
  return drew;
}

void GroupSchedulerTest::Remove(Sequence* sequence) {
  scheduler_->Remove(sequence);
  sequence->state = Sequence::State::kEnding;
}

}  // namespace pagoda::core
