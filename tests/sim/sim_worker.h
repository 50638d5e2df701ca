// A worker for the simulator: an independent reading of the step protocol whose "model" computes
// the next token from what it finds in the blocks that it is told to read. A wrong block table, a
// missing copy or a block given out too early therefore gives a wrong token.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "coordinator/core/event.h"
#include "coordinator/core/request/capacity.h"
#include "coordinator/core/scheduler/plan.h"

namespace pagoda::sim {

// What a row draws from.
struct Drawing {
  uint64_t attention = 0;  // over the KV found in the lane's blocks, in order
  uint64_t seed = 0;
  uint32_t generated = 0;  // tokens after the prompt
};

// The model: the token, or nothing when the row fails.
using Model = std::function<std::optional<int32_t>(const Drawing&)>;

// The simulator's model: depends on every token before.
Model HashModel(int32_t vocab_size);

// What `model` draws after `tokens` when every block holds what it should.
std::optional<int32_t> NextToken(const Model& model,
                                 const std::vector<int32_t>& tokens,
                                 uint64_t seed,
                                 uint32_t generated);

// What a worker answers of a drawn token, for checking that they stay together.
core::TokenLogprobs LogprobsOf(int32_t token);

class SimWorker {
 public:
  // One epoch. Blocks start with garbage.
  SimWorker(core::Epoch epoch, const core::GroupCapacity& capacity, Model model);

  // Executes the next plan. CHECK-fails when the plan breaks the protocol.
  core::StepDone Execute(const core::StepPlan& plan);

 private:
  struct Lane {
    std::vector<int32_t> history;
    uint32_t length = 0;  // tokens with KV
    uint32_t prompt_tokens = 0;
    uint64_t seed = 0;
    bool logprobs = false;  // asked for
    std::vector<uint32_t> table;
  };

  void Apply(const core::StepPlan& plan, const core::PlanOp& op);
  void Bind(const core::StepPlan& plan, const core::PlanOp& op);
  void Row(int32_t lane_id, Lane* lane, uint32_t tokens, core::StepDone* done);
  void DrawToken(int32_t lane_id, Lane* lane, core::StepDone* done);
  uint64_t* Slot(const Lane& lane, uint32_t position);
  uint64_t Digest() const;
  void CheckBlock(uint32_t block) const;

  const core::Epoch epoch_;
  const core::GroupCapacity capacity_;
  const Model model_;
  uint64_t next_step_ = 1;
  std::map<int32_t, Lane> lanes_;
  std::vector<uint64_t> slots_;  // [(num_blocks + 1) * block_size]
};

}  // namespace pagoda::sim
