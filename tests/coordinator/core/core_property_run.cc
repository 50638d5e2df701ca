#include "tests/coordinator/core/core_property_run.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"

namespace pagoda::core {
namespace {

constexpr GroupId kGroup(0);
constexpr absl::Duration kStepTimeout = absl::Seconds(1);
constexpr double kRowFailureRate = 0.002;  // of draws

}  // namespace

PropertyRun::PropertyRun(uint64_t seed, Reached* reached)
    : random_(seed),
      reached_(reached),
      depth_(Between(1, 3)),
      max_model_len_(Between(2, 24)),
      core_({.depth = depth_,
             .step_timeout = kStepTimeout,
             .open_timeout = kStepTimeout,
             .uncalibrated_timeout = kStepTimeout,
             .max_queued_requests = 6,
             .digest_interval = 2}) {}

// The core and its actions.

void PropertyRun::Apply(Event event) {
  Actions actions;
  core_.Apply(std::move(event), &actions);
  core_.CheckInvariants();
  for (const Action& action : actions) {
    std::visit([this](const auto& a) { On(a); }, action);
    if (!error_.empty()) return;
  }
}

void PropertyRun::On(const SendPlan& action) {
  const StepPlan& plan = *action.plan;
  Check(worker_ != nullptr && plan.epoch == epoch_, "a plan for no open epoch");
  if (error_.empty()) CheckPlan(plan);
  if (!error_.empty()) return;
  answers_.push_back(worker_->Execute(plan));
  answers_.back().group = kGroup;
  Check(answers_.size() <= depth_, "more unanswered plans than the depth");
}

void PropertyRun::CheckPlan(const StepPlan& plan) {
  for (const PlanOp& op : plan.ops) {
    if (op.kind == OpKind::kCopy) continue;
    const std::string lane = absl::StrCat("lane ", op.lane);
    Check(op.lane >= 0 && op.lane < static_cast<int64_t>(capacity_.max_lanes),
          lane + " does not exist");
    if (op.kind == OpKind::kBind) {
      Check(bound_.insert(op.lane).second, lane + " is bound twice");
    } else if (op.kind == OpKind::kUnbind) {
      Check(bound_.erase(op.lane) == 1, lane + " is unbound and was free");
    } else {
      Check(bound_.contains(op.lane), lane + " is used and is free");
    }
  }
  uint64_t tokens = bound_.size();
  for (const RowException& row : plan.rows) {
    Check(bound_.contains(row.lane), absl::StrCat("a row of the free lane ", row.lane));
    tokens += row.tokens;
    --tokens;
  }
  Check(tokens <= capacity_.max_step_tokens,
        absl::StrCat(tokens, " tokens in a step of ", capacity_.max_step_tokens));
}

void PropertyRun::On(const Append& action) {
  Check(action.position == ++journal_end_, "journal positions must count");
  Client& client = clients_.at(action.id);
  uint64_t& position =
      action.kind == Append::Kind::kAccept ? client.accept_position : client.end_position;
  Check(position == 0 && !client.ended, "a record is written twice or after the end");
  position = action.position;
  Check(client.accept_position > 0, "an end of what was not accepted");
}

void PropertyRun::On(const Emit& action) {
  Client& client = clients_.at(action.id);
  Check(!client.ended && client.end_position == 0, "tokens after the end");
  Check(client.accept_position > 0 && client.accept_position <= journal_durable_,
        "shown before it is durable");
  Check(client.acknowledged == (action.published > 0), "not acknowledged first, or twice");
  Check(action.published >= client.published, "the published length fell");
  Check(action.published <= client.log->published(), "promises tokens that are not published");
  client.acknowledged = true;
  client.published = action.published;
}

void PropertyRun::On(const End& action) {
  Client& client = clients_.at(action.id);
  Check(!client.ended, "ended twice");
  client.ended = true;
  if (client.accept_position == 0) {
    ++reached_->refused;
    Check(!action.status.ok(), "refused with OK");
    return;
  }
  Check(client.end_position > 0 && client.end_position <= journal_durable_,
        "ended before its end is durable");
  Check(action.completion_tokens <= client.published, "counts tokens that were not shown");
  if (client.stop_at > 0) {
    Check(action.completion_tokens == client.stop_at, "not cut where the stop string is");
  }
  CheckTokens(client, action);
  if (action.status.ok()) {
    ++(action.finish == FinishReason::kCancelled ? reached_->cancelled : reached_->finished);
  } else {
    ++(absl::IsDeadlineExceeded(action.status) ? reached_->late : reached_->failed);
  }
}

void PropertyRun::CheckTokens(const Client& client, const End& end) {
  std::vector<int32_t> tokens = client.prompt;
  TokenLog::Cursor cursor(client.log.get());
  for (uint32_t i = 0; i < client.published; ++i) {
    const int32_t token = cursor.Next();
    Check(token == sim::NextToken(tokens_, tokens, client.seed, i), "a wrong token");
    tokens.push_back(token);
  }
  if (end.finish == FinishReason::kLength) {
    Check(end.completion_tokens == client.max_tokens, "its length is not what was asked for");
  }
}

void PropertyRun::On(const OpenEpoch& action) {
  Check(worker_ == nullptr, "opens over a live epoch");
  Check(action.epoch > epoch_, "epochs must rise");
  ++reached_->epochs;
  epoch_ = action.epoch;
  const auto model = [this](const sim::Drawing& drawing) -> std::optional<int32_t> {
    if (faults_ && random_.Bernoulli(kRowFailureRate)) return std::nullopt;
    return tokens_(drawing);
  };
  worker_ = std::make_unique<sim::SimWorker>(epoch_, capacity_, model);
  answers_.push_back({.group = kGroup, .epoch = epoch_, .step = Step(0)});
}

void PropertyRun::On(const Drop& action) {
  Check(worker_ != nullptr && action.epoch == epoch_, "drops what is not open");
  ++reached_->drops;
  WorkerGone();
}

// The operations.

void PropertyRun::WorkerGone() {
  worker_ = nullptr;
  bound_.clear();
  stale_.insert(stale_.end(), answers_.begin(), answers_.end());
  answers_.clear();
}

void PropertyRun::SubmitOne() {
  RequestSpec spec;
  spec.id = RequestId(++last_id_);
  // Most fit the pool; some are longer than it, or than the context.
  const uint32_t pool = capacity_.num_blocks * capacity_.block_size;
  const uint32_t most =
      random_.Bernoulli(0.9) ? std::clamp(pool + 1, 2u, max_model_len_) : max_model_len_ + 2;
  const uint32_t prompt = Between(1, most - 1);
  for (uint32_t i = 0; i < prompt; ++i) {
    spec.prompt.push_back(static_cast<int32_t>(random_.Below(kVocabSize)));
  }
  spec.max_tokens = Between(1, most - prompt);
  spec.sampling.seed = random_.Next64();
  if (random_.Bernoulli(0.1)) spec.stop_token_ids = {static_cast<int32_t>(random_.Below(2))};
  if (random_.Bernoulli(0.2)) spec.deadline = now_ + absl::Microseconds(Between(0, 5000));
  spec.log = std::make_shared<TokenLog>(false);
  const RequestId id = spec.id;
  clients_[id] = {.log = spec.log,
                  .prompt = spec.prompt,
                  .seed = spec.sampling.seed,
                  .max_tokens = spec.max_tokens};
  Apply(Submit{std::move(spec)});
  const Client& client = clients_[id];
  Check(client.ended || client.accept_position > 0, "neither accepted nor refused");
  Check(!draining_ || client.ended, "accepted while draining");
}

void PropertyRun::EndByClient(bool detach) {
  const RequestId id = Anyone();
  if (detach) {
    Apply(Detach{id});
  } else {
    Apply(Cancel{id});
  }
  const auto it = clients_.find(id);
  if (it == clients_.end()) return;
  Check(it->second.ended || it->second.end_position > 0, "still lives after its client left");
}

void PropertyRun::StopSomewhere() {
  RequestId id = Anyone();
  auto it = clients_.find(id);
  // Rather of one that still draws.
  for (int i = 0; i < 8 && it != clients_.end() && it->second.end_position > 0; ++i) {
    id = Anyone();
    it = clients_.find(id);
  }
  if (it == clients_.end()) return Apply(StopAt{id, 1});
  Client& client = it->second;
  const bool lived = !client.ended && client.end_position == 0 && client.accept_position > 0;
  const uint32_t at = Between(1, client.published + 2);
  const bool known = at <= client.published;
  if (lived && known) {
    client.stop_at = at;
    ++reached_->stopped;
  }
  Apply(StopAt{id, at});
  if (lived) Check(known == (client.end_position > 0), "a stop string did not do what it should");
}

void PropertyRun::SomeDurable() {
  if (journal_durable_ == journal_end_) return;
  journal_durable_ += 1 + random_.Below(journal_end_ - journal_durable_);
  Apply(JournalDurable{journal_durable_});
}

void PropertyRun::Answer() {
  if (answers_.empty()) return;
  StepDone answer = std::move(answers_.front());
  answers_.pop_front();
  Apply(std::move(answer));
}

// A worker that answers wrongly loses its epoch, and nothing else happens.
void PropertyRun::WrongAnswer() {
  if (answers_.empty()) return;
  StepDone answer = answers_.front();
  if (random_.Bernoulli(0.5)) {
    answer.step = Step(answer.step.value() + 1);
  } else if (answer.step.value() > 0) {
    answer.tokens.push_back(0);
  } else {
    return;
  }
  Apply(std::move(answer));
  Check(worker_ == nullptr, "a wrong answer was taken");
}

void PropertyRun::StaleAnswer() {
  if (stale_.empty()) return;
  Actions actions;
  const size_t which = random_.Below(stale_.size());
  core_.Apply(std::move(stale_[which]), &actions);
  core_.CheckInvariants();
  stale_.erase(stale_.begin() + which);
  ++reached_->stale;
  Check(actions.empty(), "an answer of an older epoch did something");
}

void PropertyRun::Join() {
  if (capacity_.num_blocks == 0 || random_.Bernoulli(0.5)) {
    capacity_ = {.num_blocks = Between(1, 8),
                 .block_size = Between(1, 4),
                 .max_lanes = Between(1, 5),
                 .max_step_tokens = Between(1, 10),
                 .max_model_len = max_model_len_};
  }
  // Ranks may have served epochs that this core never saw.
  const Epoch last(epoch_.value() + random_.Below(3));
  Apply(GroupJoined{.group = kGroup, .capacity = capacity_, .last_epoch = last});
  Check(epoch_ > last, "an epoch that the ranks have seen");
}

void PropertyRun::Lose() {
  const Epoch lost(epoch_.value() - (epoch_.value() > 0 ? random_.Below(2) : 0));
  if (lost == epoch_) WorkerGone();
  Apply(GroupLost{.group = kGroup, .epoch = lost, .reason = "lost"});
}

void PropertyRun::Later() {
  now_ += random_.Bernoulli(0.005) ? 2 * kStepTimeout : absl::Microseconds(Between(0, 100));
  Apply(Tick{now_});
}

void PropertyRun::Operate() {
  ++reached_->operations;
  const uint64_t what = random_.Below(1000);
  if (what < 100) return SubmitOne();
  if (what < 115) return EndByClient(what % 2 == 0);
  if (what < 175) return StopSomewhere();
  if (what < 330) return SomeDurable();
  if (what < 650) return Answer();
  if (what < 653) return WrongAnswer();
  if (what < 670) return StaleAnswer();
  if (what < 675) return Lose();
  if (what < 678 || (worker_ == nullptr && what < 850)) return Join();
  Later();
}

// Nothing fails any more: all that was accepted must end, and every block must be back.
void PropertyRun::FinishAll() {
  faults_ = false;
  if (worker_ == nullptr) Join();
  for (int i = 0; error_.empty() && i < 10000; ++i) {
    if (core_.idle() && answers_.empty()) break;
    SomeDurable();
    if (error_.empty()) Answer();
    if (error_.empty()) Apply(Tick{now_});
  }
  const CoreStats stats = core_.stats();
  reached_->preemptions += stats.preemptions;
  Check(core_.idle(), "requests are left over");
  Check(stats.running == 0 && stats.waiting == 0, "counts are not zero at rest");
  Check(stats.free_blocks == stats.total_blocks, "blocks are not back");
  for (const auto& [id, client] : clients_) {
    Check(client.ended, absl::StrCat("request ", id.value(), " never ended"));
  }
}

std::string PropertyRun::Run(uint64_t operations) {
  const bool drain = random_.Bernoulli(0.5);
  if (random_.Bernoulli(0.9)) Join();
  for (uint64_t i = 0; i < operations && error_.empty(); ++i) {
    if (drain && i == operations * 9 / 10) {
      draining_ = true;
      Apply(Drain{});
    }
    Operate();
    if (!error_.empty()) error_ += absl::StrCat(" (operation ", i, ")");
  }
  if (error_.empty()) FinishAll();
  return error_;
}

}  // namespace pagoda::core
