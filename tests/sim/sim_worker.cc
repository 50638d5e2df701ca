#include "tests/sim/sim_worker.h"

#include <algorithm>
#include <string>
#include <utility>

#include "common/check.h"
#include "common/hash.h"

namespace pagoda::sim {
namespace {

uint64_t Mix(uint64_t a, uint64_t b) {
  uint64_t x = a * 0x9e3779b97f4a7c15ULL ^ (b + 0x7f4a7c159e3779b9ULL);
  x ^= x >> 29;
  x *= 0xbf58476d1ce4e5b9ULL;
  return x ^ x >> 32;
}

// The KV of a token: of itself and its position alone.
uint64_t Kv(int32_t token, uint32_t position) {
  return Mix(static_cast<uint64_t>(token) + 1, position);
}

}  // namespace

Model HashModel(int32_t vocab_size) {
  return [vocab_size](const Drawing& drawing) -> std::optional<int32_t> {
    return static_cast<int32_t>(Mix(drawing.attention, drawing.seed) %
                                static_cast<uint64_t>(vocab_size));
  };
}

std::optional<int32_t> NextToken(const Model& model,
                                 const std::vector<int32_t>& tokens,
                                 uint64_t seed,
                                 uint32_t generated) {
  uint64_t attention = 0;
  for (uint32_t i = 0; i < tokens.size(); ++i) attention = Mix(attention, Kv(tokens[i], i));
  return model({attention, seed, generated});
}

core::TokenLogprobs LogprobsOf(int32_t token) {
  return {.logprob = -0.5f * static_cast<float>(token),
          .rank = static_cast<uint32_t>(token) + 1,
          .top = {{token, 0}}};
}

SimWorker::SimWorker(core::Epoch epoch, const core::GroupCapacity& capacity, Model model)
    : epoch_(epoch), capacity_(capacity), model_(std::move(model)) {
  const size_t slots = size_t{capacity.num_blocks + 1} * capacity.block_size;
  for (size_t i = 0; i < slots; ++i) slots_.push_back(Mix(i, 0xbad));
}

void SimWorker::CheckBlock(uint32_t block) const {
  CHECK(block >= 1 && block <= capacity_.num_blocks) << " block " << block;
}

core::StepDone SimWorker::Execute(const core::StepPlan& plan) {
  CHECK_EQ(plan.epoch, epoch_);
  CHECK_EQ(plan.step.value(), next_step_);
  CHECK_EQ(plan.snapshot, next_step_ == 1);
  ++next_step_;
  for (const core::PlanOp& op : plan.ops) Apply(plan, op);

  core::StepDone done{.epoch = epoch_, .step = plan.step};
  if (plan.digest) done.table_digest = Digest();
  std::map<int32_t, uint32_t> exceptions;
  for (const core::RowException& row : plan.rows) {
    CHECK(lanes_.contains(row.lane)) << " exception for free lane " << row.lane;
    CHECK(exceptions.empty() || exceptions.rbegin()->first < row.lane) << " rows out of order";
    exceptions[row.lane] = row.tokens;
  }
  uint32_t tokens = 0;
  for (auto& [id, lane] : lanes_) {
    const auto exception = exceptions.find(id);
    const uint32_t count = exception == exceptions.end() ? 1 : exception->second;
    tokens += count;
    if (count > 0) Row(id, &lane, count, &done);
  }
  CHECK_LE(tokens, capacity_.max_step_tokens);
  done.busy = absl::Microseconds(10 + tokens);
  return done;
}

void SimWorker::Bind(const core::StepPlan& plan, const core::PlanOp& op) {
  CHECK(op.lane >= 0 && static_cast<uint32_t>(op.lane) < capacity_.max_lanes);
  const core::PlanBind& bind = plan.binds.at(op.bind);
  Lane lane;
  lane.history.assign(plan.tokens.begin() + bind.tokens_begin,
                      plan.tokens.begin() + bind.tokens_begin + bind.tokens_count);
  lane.prompt_tokens = bind.prompt_tokens;
  lane.seed = bind.sampling.seed;
  lane.logprobs = bind.sampling.logprobs >= 0;
  CHECK(!lane.history.empty());
  CHECK_LE(bind.prompt_tokens, lane.history.size());
  CHECK_LE(lane.history.size(), capacity_.max_model_len);
  CHECK(lanes_.emplace(op.lane, std::move(lane)).second) << " lane bound twice: " << op.lane;
}

void SimWorker::Apply(const core::StepPlan& plan, const core::PlanOp& op) {
  const size_t size = capacity_.block_size;
  switch (op.kind) {
    case core::OpKind::kBind:
      Bind(plan, op);
      return;
    case core::OpKind::kAppend:
      for (uint32_t i = 0; i < op.b; ++i) {
        CheckBlock(op.a + i);
        lanes_.at(op.lane).table.push_back(op.a + i);
      }
      return;
    case core::OpKind::kSet:
      CheckBlock(op.b);
      lanes_.at(op.lane).table.at(op.a) = op.b;
      return;
    case core::OpKind::kUnbind:
      CHECK_EQ(lanes_.erase(op.lane), 1u) << " unbind of free lane " << op.lane;
      return;
    case core::OpKind::kCopy:
      CheckBlock(op.a);
      CheckBlock(op.b);
      for (size_t i = 0; i < size; ++i) slots_[op.b * size + i] = slots_[op.a * size + i];
      return;
    case core::OpKind::kFork:
    case core::OpKind::kTruncate:
      CHECK(false) << " the scheduler does not use this op";
  }
}

uint64_t* SimWorker::Slot(const Lane& lane, uint32_t position) {
  const uint32_t block = lane.table.at(position / capacity_.block_size);
  return &slots_[size_t{block} * capacity_.block_size + position % capacity_.block_size];
}

void SimWorker::Row(int32_t lane_id, Lane* lane, uint32_t tokens, core::StepDone* done) {
  CHECK_LE(lane->length + tokens, lane->history.size()) << " lane " << lane_id;
  for (uint32_t i = 0; i < tokens; ++i) {
    *Slot(*lane, lane->length) = Kv(lane->history[lane->length], lane->length);
    ++lane->length;
  }
  if (lane->length == lane->history.size()) DrawToken(lane_id, lane, done);
}

void SimWorker::DrawToken(int32_t lane_id, Lane* lane, core::StepDone* done) {
  uint64_t attention = 0;
  for (uint32_t i = 0; i < lane->length; ++i) attention = Mix(attention, *Slot(*lane, i));
  const std::optional<int32_t> token =
      model_({attention, lane->seed, lane->length - lane->prompt_tokens});
  if (!token.has_value()) done->failures.push_back({lane_id, "the row's logits are not numbers"});
  lane->history.push_back(token.value_or(0));
  done->tokens.push_back(token.value_or(0));
  const bool any_logprobs = std::any_of(lanes_.begin(), lanes_.end(), [](const auto& entry) {
    return entry.second.logprobs;
  });
  if (any_logprobs) {
    done->logprobs.push_back(lane->logprobs ? LogprobsOf(token.value_or(0))
                                            : core::TokenLogprobs());
  }
}

uint64_t SimWorker::Digest() const {
  RunningHash hash;
  for (const auto& [id, lane] : lanes_) {
    std::string bytes;
    const auto add = [&bytes](uint32_t value) {
      bytes.append({static_cast<char>(value),
                    static_cast<char>(value >> 8),
                    static_cast<char>(value >> 16),
                    static_cast<char>(value >> 24)});
    };
    add(static_cast<uint32_t>(id));
    add(static_cast<uint32_t>(lane.table.size()));
    for (uint32_t block : lane.table) add(block);
    hash.Add(bytes);
  }
  return hash.value();
}

}  // namespace pagoda::sim
