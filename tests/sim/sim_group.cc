#include "tests/sim/sim_group.h"

#include <algorithm>
#include <utility>

namespace pagoda::sim {
namespace {

constexpr core::GroupId kGroup(0);

}  // namespace

SimGroup::SimGroup(const Scenario& scenario,
                   Model model,
                   Random* random,
                   Agenda* agenda,
                   const absl::Time* now,
                   std::function<void(core::Event)> apply)
    : scenario_(scenario),
      model_(std::move(model)),
      random_(*random),
      agenda_(*agenda),
      now_(*now),
      apply_(std::move(apply)) {}

void SimGroup::RejoinLater() {
  if (join_pending_) return;  // the processes of a group come back once
  join_pending_ = true;
  agenda_.At(now_ + Delay(3000), [this] {
    join_pending_ = false;
    Join();
  });
}

void SimGroup::Join() {
  joining_ = true;
  apply_(core::GroupJoined{.group = kGroup,
                           .ranks = scenario_.ranks,
                           .capacity = {.num_blocks = scenario_.num_blocks,
                                        .block_size = scenario_.block_size,
                                        .max_lanes = scenario_.max_lanes,
                                        .max_step_tokens = scenario_.max_step_tokens,
                                        .max_model_len = scenario_.max_model_len}});
  joining_ = false;
}

void SimGroup::On(const core::OpenEpoch& action) {
  if (action.epoch.value() <= epoch_.value()) error_ = "epochs must rise";
  epoch_ = action.epoch;
  lie_ = 0;
  ++epochs_;
  ranks_.clear();
  for (uint32_t rank = 0; rank < scenario_.ranks; ++rank) {
    ranks_.push_back({.worker = std::make_unique<SimWorker>(epoch_, action.capacity, model_)});
  }
  for (uint32_t rank = 0; rank < scenario_.ranks && alive(); ++rank) {
    Answer(rank, {.epoch = action.epoch, .step = core::Step(0)});
  }
}

void SimGroup::On(const core::SendPlan& action) {
  if (!alive()) return;  // the core does not know yet
  // This plan says that the core has all answers to the one that is `depth` older.
  if (lie_ > 0 && action.plan->step.value() >= lie_ + scenario_.depth) {
    error_ = "tables that differ went unnoticed";
  }
  std::vector<core::StepDone> answers;
  for (Rank& rank : ranks_) answers.push_back(rank.worker->Execute(*action.plan));
  for (const core::StepDone& done : answers) {
    if (done.tokens != answers[0].tokens) error_ = "the ranks draw different tokens";
  }
  for (uint32_t rank = 0; rank < answers.size() && alive(); ++rank) {
    core::StepDone& done = answers[rank];
    if (action.plan->digest && random_.Bernoulli(scenario_.lie_rate)) {
      ++faults_;
      done.table_digest ^= 1;
      if (lie_ == 0) lie_ = action.plan->step.value();
    }
    Answer(rank, std::move(done));
  }
}

void SimGroup::Answer(uint32_t rank, core::StepDone done) {
  done.group = kGroup;
  done.rank = rank;
  if (random_.Bernoulli(scenario_.hang_rate)) Hang(rank);
  if (!ranks_[rank].answers) return;
  if (random_.Bernoulli(scenario_.death_rate)) {
    Die(done.epoch);
    return;
  }
  absl::Time& free = ranks_[rank].free;
  free = std::max(free, now_) + Delay(random_.Bernoulli(0.05) ? 50000 : 300);
  agenda_.At(free, [this, done = std::move(done)] {
    // The streams of a group that is lost are broken: what they had not delivered is lost, or late.
    const bool gone = done.epoch != epoch_ || !alive();
    if (gone && random_.Bernoulli(0.5)) return;
    core::StepDone answer = done;
    // A sum of several ranks is drawn from by the first.
    if (answer.rank != 0) {
      answer.tokens.clear();
      answer.logprobs.clear();
      answer.failures.clear();
    }
    apply_(std::move(answer));
  });
}

// Only the core's deadline can notice. Often the others wait for it in a sum.
void SimGroup::Hang(uint32_t rank) {
  ++faults_;
  const bool others_wait = random_.Bernoulli(0.5);
  for (uint32_t i = 0; i < ranks_.size(); ++i) ranks_[i].answers &= i != rank && !others_wait;
}

void SimGroup::Die(core::Epoch epoch) {
  ++faults_;
  ranks_.clear();
  agenda_.At(now_ + Delay(1000), [this, epoch] {
    apply_(core::GroupLost{.group = kGroup, .epoch = epoch, .reason = "died"});
    if (epoch == epoch_) RejoinLater();  // else it is back already
  });
}

void SimGroup::On(const core::Drop& action) {
  if (joining_) return;  // of the incarnation before the one that joins
  ranks_.clear();
  if (random_.Bernoulli(0.5)) {
    apply_(core::GroupLost{.group = kGroup, .epoch = action.epoch, .reason = "closed"});
  }
  RejoinLater();
}

}  // namespace pagoda::sim
