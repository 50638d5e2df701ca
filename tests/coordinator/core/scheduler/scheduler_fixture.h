// A GroupScheduler with its sequences, driven by hand. Plans come as text (action_text.h); answers
// draw tokens that tell whose they are: sequence 3 draws 301, 302, ...
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/core/scheduler/group_scheduler.h"
#include "tests/coordinator/core/action_text.h"

namespace pagoda::core {

class GroupSchedulerTest : public ::testing::Test {
 protected:
  ~GroupSchedulerTest() override { scheduler_.reset(); }

  void Make(const GroupCapacity& capacity,
            uint32_t depth = 1,
            const Policies& policies = FirstComeFirstServed());
  // A sequence that waits; numbers are orders of arrival, from 1.
  Sequence* Add(uint32_t prompt, uint32_t max_tokens);
  // The next plan, "nothing" when there is none. Audits the scheduler.
  std::string Plan(bool digest = false);
  // Answers the oldest plan: the arrivals of those that drew, by ascending lane. A sequence that is
  // complete, or whose arrival `over` names, is removed as the core does it.
  std::vector<uint64_t> Answer(const std::vector<uint64_t>& over = {});
  void Remove(Sequence* sequence);

  GroupScheduler& scheduler() { return *scheduler_; }
  int32_t free_blocks() const { return scheduler_->pool().num_free(); }

 private:
  std::vector<std::unique_ptr<Sequence>> sequences_;
  std::unique_ptr<GroupScheduler> scheduler_;
};

}  // namespace pagoda::core
