// Scheduling and block accounting of one group: waiting queue, running set, lanes, pool, unanswered
// plans.
//
// Schedule() makes a plan in five phases: reclaim -> continue running -> preempt if short -> admit
// within budget
// -> plan. Pure and thread-compatible. In steady decode it allocates nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <queue>
#include <set>
#include <vector>

#include "absl/functional/function_ref.h"
#include "coordinator/core/kv/block_manager.h"
#include "coordinator/core/request/capacity.h"
#include "coordinator/core/scheduler/plan.h"
#include "coordinator/core/scheduler/policy.h"
#include "coordinator/core/scheduler/sequence.h"

namespace pagoda::core {

class GroupScheduler {
 public:
  // What a sent plan does on one lane.
  struct Row {
    Sequence* sequence = nullptr;  // null: none, or the sequence is over
    uint32_t tokens = 0;           // 0: no row
    uint32_t binding = 0;
    bool draws = false;
  };
  struct SentPlan {
    StepPlan plan;
    std::vector<Row> rows;  // [max_lanes], by lane
    uint32_t tokens = 0;    // of all rows
    uint32_t draws = 0;     // rows that draw
    uint64_t digest = 0;    // of the tables, when plan.digest
  };
  // Never decreasing.
  struct Counts {
    uint64_t steps = 0;             // answered
    uint64_t processed_tokens = 0;  // by answered steps
    uint64_t preemptions = 0;
  };

  // REQUIRES: every number of `capacity` >= 1, depth >= 1.
  GroupScheduler(const GroupCapacity& capacity, uint32_t depth, const Policies& policies);
  ~GroupScheduler();

  // Whether the pool can hold a sequence of so many KV tokens when it is alone.
  bool Fits(uint32_t kv_tokens) const { return kv_tokens <= blocks_->MaxTokens(); }

  // The sequence waits from now on; the scheduler refers to it until Remove.
  void Enqueue(Sequence* sequence);
  // Forgets the sequence and takes its blocks back; what unanswered plans do for it will be
  // ignored.
  void Remove(Sequence* sequence);

  bool CanPlan() const { return unanswered_.size() < storage_.size(); }
  // The next plan, or null when there is nothing to do; with `digest`, the plan asks for one. The
  // plan is valid until the next call after its answer. REQUIRES: CanPlan().
  const SentPlan* Schedule(Epoch epoch, bool digest);

  // The oldest unanswered plan; null if there is none.
  const SentPlan* oldest() const { return unanswered_.empty() ? nullptr : unanswered_.front(); }
  // Takes the oldest plan's rows off the books, by ascending lane; calls drawn(sequence, index)
  // when token number `index` of the answer belongs to a sequence that is not over. `drawn` extends
  // its history, and may Remove it. REQUIRES: oldest() != null.
  void Answer(absl::FunctionRef<void(Sequence*, size_t)> drawn);

  // The epoch is over: its plans are void, every sequence waits again, the pool is empty. The next
  // one starts with `capacity`.
  void Reset(const GroupCapacity& capacity);

  uint32_t waiting() const { return static_cast<uint32_t>(waiting_.size()); }
  uint32_t running() const { return static_cast<uint32_t>(running_.size()); }
  // Waiting sequences that the pool can never hold, in queue order.
  std::vector<Sequence*> Misfits() const;
  const BlockPool& pool() const { return blocks_->pool(); }
  const Counts& counts() const { return counts_; }

  // Full audit of sequences, lanes, rows and blocks.
  void CheckInvariants() const;

 private:
  struct Earlier {
    const Order* order;
    bool operator()(const Sequence* a, const Sequence* b) const { return order->Before(*a, *b); }
  };
  using FreeLanes = std::priority_queue<int32_t, std::vector<int32_t>, std::greater<int32_t>>;

  SentPlan* StartPlan(Epoch epoch, bool digest);
  void Reclaim(SentPlan* sent);
  // Answers whether somebody was preempted.
  bool ContinueRunning(SentPlan* sent);
  // Makes room for `tokens` more tokens of running_[index] in new blocks, preempting others that
  // have no row yet. False when it had to preempt running_[index] itself.
  bool GrowOrPreempt(size_t index, uint32_t tokens, SentPlan* sent);
  void Preempt(size_t index, SentPlan* sent);
  void Admit(SentPlan* sent);
  void Bind(Sequence* sequence, SentPlan* sent);
  void Grow(Sequence* sequence, uint32_t tokens, SentPlan* sent);
  void AddRow(Sequence* sequence, uint32_t tokens, SentPlan* sent);
  // From the running set to no state: blocks back, lane no longer its own.
  void Unseat(Sequence* sequence);
  void FreeBlocks(Sequence* sequence);
  StepFence LastSent() const { return StepFence(next_step_ - 1); }
  uint64_t TableDigest();
  uint32_t max_running() const;
  void CheckRows() const;

  GroupCapacity capacity_;
  const Policies policies_;
  std::unique_ptr<BlockManager> blocks_;
  std::set<Sequence*, Earlier> waiting_;
  std::vector<Sequence*> running_;  // in the order of policies_.order
  std::vector<Sequence*> on_lane_;  // [max_lanes]; null: free, or to be unbound
  FreeLanes free_lanes_;
  std::vector<int32_t> unbind_;         // lanes to unbind with the next plan
  std::vector<SentPlan> storage_;       // [depth], by step modulo depth
  std::vector<SentPlan*> unanswered_;   // oldest first
  std::vector<BlockChange> changes_;    // scratch
  std::vector<uint32_t> digest_words_;  // scratch
  uint64_t next_step_ = 1;
  Counts counts_;
};

}  // namespace pagoda::core
