// A worker for the simulator: an independent reading of the step protocol whose "model" computes
// the next token from what it finds in the blocks that it is told to read. A wrong block table, a
// missing copy or a block given out too early therefore gives a wrong token.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "coordinator/core/event.h"
#include "coordinator/core/request/capacity.h"
#include "coordinator/core/scheduler/plan.h"

namespace pagoda::sim {

// The model: what token follows these, for a request with this seed and temperature 0 or not.
int32_t NextToken(const std::vector<int32_t>& tokens, uint64_t seed, int32_t vocab_size);

class SimWorker {
 public:
  // One epoch. Blocks start with garbage.
  SimWorker(core::Epoch epoch, const core::GroupCapacity& capacity, int32_t vocab_size);

  // Executes the next plan. CHECK-fails when the plan breaks the protocol.
  core::StepDone Execute(const core::StepPlan& plan);

 private:
  struct Lane {
    std::vector<int32_t> history;
    uint32_t length = 0;  // tokens with KV
    uint64_t seed = 0;
    std::vector<uint32_t> table;
  };

  void Apply(const core::StepPlan& plan, const core::PlanOp& op);
  void Bind(const core::StepPlan& plan, const core::PlanOp& op);
  void Row(int32_t lane_id, Lane* lane, uint32_t tokens, core::StepDone* done);
  uint64_t* Slot(const Lane& lane, uint32_t position);
  uint64_t Digest() const;
  void CheckBlock(uint32_t block) const;

  const core::Epoch epoch_;
  const core::GroupCapacity capacity_;
  const int32_t vocab_size_;
  uint64_t next_step_ = 1;
  std::map<int32_t, Lane> lanes_;
  std::vector<uint64_t> slots_;  // [(num_blocks + 1) * block_size]
};

}  // namespace pagoda::sim
