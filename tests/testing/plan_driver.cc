#include "tests/testing/plan_driver.h"

#include <algorithm>

#include "common/check.h"
#include "common/status.h"

namespace pagoda::testing {

v1::SamplingParams Greedy() {
  v1::SamplingParams sampling;
  sampling.set_logprobs(-1);
  return sampling;
}

PlanDriver::PlanDriver(const v1::ConfigureRequest& config, uint32_t chunk)
    : config_(config), chunk_(chunk), on_lane_(config.max_lanes()) {
  // Neighbours in a table are no neighbours in the pool: a walk with a stride that visits each
  // block.
  const uint32_t blocks = config.num_blocks();
  const uint32_t stride = blocks % 7 == 0 ? 11 : 7;
  for (uint32_t i = 0; i < blocks; ++i) {
    free_.push_back(1 + static_cast<uint32_t>(uint64_t{i} * stride % blocks));
  }
  CHECK(blocks % stride != 0 || blocks == 1) << "some blocks would come twice";
}

size_t PlanDriver::Add(std::vector<uint32_t> prompt,
                       const v1::SamplingParams& sampling,
                       uint32_t max_tokens) {
  CHECK_EQ(step_, 0u) << "the first plan takes pointers";
  sequences_.push_back(
      {.prompt = std::move(prompt), .sampling = sampling, .max_tokens = max_tokens});
  return sequences_.size() - 1;
}

bool PlanDriver::done() const {
  return std::all_of(sequences_.begin(), sequences_.end(), [](const Sequence& s) {
    return s.over();
  });
}

void PlanDriver::Retire(v1::Plan* plan) {
  for (Sequence*& sequence : on_lane_) {
    if (sequence == nullptr || !sequence->over()) continue;
    plan->add_ops()->mutable_unbind()->set_lane(static_cast<uint32_t>(sequence->lane));
    free_.insert(free_.end(), sequence->blocks.begin(), sequence->blocks.end());
    sequence->blocks.clear();
    sequence->lane = -1;
    sequence = nullptr;
  }
}

void PlanDriver::Admit(v1::Plan* plan) {
  for (; admitted_ < sequences_.size(); ++admitted_) {
    Sequence& sequence = sequences_[admitted_];
    const auto lane = std::find(on_lane_.begin(), on_lane_.end(), nullptr);
    const uint32_t tokens = static_cast<uint32_t>(sequence.prompt.size()) + sequence.max_tokens - 1;
    const uint32_t blocks = (tokens + config_.block_size() - 1) / config_.block_size();
    CHECK_LE(blocks, config_.num_blocks());
    if (lane == on_lane_.end() || promised_blocks_ + blocks > free_.size()) return;
    promised_blocks_ += blocks;
    *lane = &sequence;
    sequence.lane = static_cast<int>(lane - on_lane_.begin());
    v1::Bind* bind = plan->add_ops()->mutable_bind();
    bind->set_lane(static_cast<uint32_t>(sequence.lane));
    bind->mutable_tokens()->Add(sequence.prompt.begin(), sequence.prompt.end());
    bind->set_prompt_tokens(static_cast<uint32_t>(sequence.prompt.size()));
    *bind->mutable_sampling() = sequence.sampling;
  }
}

void PlanDriver::Advance(Sequence* sequence, uint32_t tokens, v1::Plan* plan) {
  const uint32_t lane = static_cast<uint32_t>(sequence->lane);
  sequence->processed += tokens;
  while (sequence->blocks.size() * config_.block_size() < sequence->processed) {
    CHECK(!free_.empty());
    const uint32_t block = free_.front();
    free_.erase(free_.begin());
    --promised_blocks_;
    sequence->blocks.push_back(block);
    v1::Append* append = plan->add_ops()->mutable_append();
    append->set_lane(lane);
    append->set_first(block);
  }
  if (tokens == 1) return;
  v1::RowException* row = plan->add_rows();
  row->set_lane(lane);
  if (tokens == 0) {
    row->set_hold(true);
  } else {
    row->set_chunk(tokens);
  }
}

v1::Plan PlanDriver::Next() {
  v1::Plan plan;
  plan.set_epoch(config_.epoch());
  plan.set_step(++step_);
  plan.set_snapshot(step_ == 1);
  Retire(&plan);
  Admit(&plan);
  uint32_t budget = config_.max_step_tokens();
  for (Sequence* sequence : on_lane_) {
    if (sequence == nullptr) continue;
    const uint32_t known = static_cast<uint32_t>(sequence->prompt.size() + sequence->drawn.size());
    const uint32_t tokens = std::min({chunk_, known - sequence->processed, budget});
    budget -= tokens;
    Advance(sequence, tokens, &plan);
  }
  return plan;
}

void PlanDriver::Take(const v1::StepResult& result) {
  int next = 0;
  for (Sequence* sequence : on_lane_) {
    if (sequence == nullptr) continue;
    if (sequence->processed < sequence->prompt.size() + sequence->drawn.size()) continue;
    CHECK_LT(next, result.tokens_size());
    sequence->drawn.push_back(result.tokens(next));
    if (result.logprobs_size() > 0) sequence->logprobs.push_back(result.logprobs(next));
    ++next;
  }
  CHECK_EQ(next, result.tokens_size());
}

absl::Status PlanDriver::Run(
    const std::function<absl::Status(const v1::Plan& plan, v1::StepResult* result)>& step) {
  v1::StepResult result;
  while (!done()) {
    RETURN_IF_ERROR(step(Next(), &result));
    Take(result);
  }
  return absl::OkStatus();
}

}  // namespace pagoda::testing
