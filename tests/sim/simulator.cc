#include "tests/sim/simulator.h"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/hash.h"
#include "common/random.h"
#include "coordinator/core/core.h"
#include "tests/sim/agenda.h"
#include "tests/sim/sim_group.h"
#include "tests/sim/sim_worker.h"

namespace pagoda::sim {
namespace {

constexpr absl::Duration kStepTimeout = absl::Seconds(2);
constexpr absl::Duration kGiveUp = absl::Hours(10);

// What the harness knows of a request.
struct Client {
  std::shared_ptr<core::TokenLog> log;
  std::vector<int32_t> expected;  // the fault-free output, up to its own end
  core::FinishReason expected_finish = core::FinishReason::kLength;
  uint32_t stop_after = 0;  // a stop string is complete with this token; 0: none
  bool may_be_cut = false;  // it may be cancelled or run out of time
  uint32_t published = 0;
  bool acknowledged = false;
  bool ended = false;
};

class Simulation {
 public:
  explicit Simulation(const Scenario& scenario);
  Report Run();

 private:
  void After(absl::Duration delay, std::function<void()> what) {
    agenda_.At(now_ + delay, std::move(what));
  }
  absl::Duration Delay(int64_t max_us) {
    return absl::Microseconds(1 + static_cast<int64_t>(random_.Below(max_us)));
  }
  void Fail(const std::string& what);

  void PlanArrivals();
  void SubmitRequest(uint64_t index);
  std::vector<int32_t> Expect(const core::RequestSpec& spec, Client* client);
  void Apply(core::Event event);
  void TickSoon();

  void On(const core::SendPlan& action);
  void On(const core::Append& action);
  void On(const core::Emit& action);
  void On(const core::End& action);
  void On(const core::OpenEpoch& action);
  void On(const core::Drop& action);
  void Trace(const std::string& text) { trace_.Add(text); }

  void CheckEnd(core::RequestId id, const core::End& end, const Client& client);
  void CheckAtRest();

  const Scenario scenario_;
  const Model model_;
  Random random_;
  core::Core core_;
  absl::Time now_ = absl::FromUnixSeconds(1767225600);  // long after the core's own start
  Agenda agenda_;
  bool tick_pending_ = false;
  std::map<core::RequestId, Client> clients_;
  SimGroup group_;
  uint64_t journal_durable_ = 0;
  RunningHash trace_;
  Report report_;
};

Simulation::Simulation(const Scenario& scenario)
    : scenario_(scenario),
      model_(HashModel(static_cast<int32_t>(scenario.vocab_size))),
      random_(scenario.seed),
      core_({.depth = scenario.depth,
             .step_timeout = kStepTimeout,
             .open_timeout = kStepTimeout,
             .uncalibrated_timeout = 2 * kStepTimeout,
             .max_queued_requests = 40,
             .digest_interval = 3}),
      group_(scenario, model_, &random_, &agenda_, &now_, [this](core::Event event) {
        Apply(std::move(event));
      }) {}

void Simulation::Fail(const std::string& what) {
  if (report_.error.empty()) report_.error = what;
}

// Requests.

void Simulation::PlanArrivals() {
  absl::Time time = now_;
  for (uint64_t i = 1; i <= scenario_.requests; ++i) {
    if (random_.Bernoulli(0.3)) time += Delay(5000);  // else part of a burst
    agenda_.At(time, [this, i] { SubmitRequest(i); });
  }
}

std::vector<int32_t> Simulation::Expect(const core::RequestSpec& spec, Client* client) {
  std::vector<int32_t> tokens = spec.prompt;
  std::vector<int32_t> output;
  while (output.size() < spec.max_tokens) {
    const int32_t token =
        *NextToken(model_, tokens, spec.sampling.seed, static_cast<uint32_t>(output.size()));
    tokens.push_back(token);
    output.push_back(token);
    if (output.size() == client->stop_after ||
        std::binary_search(spec.stop_token_ids.begin(), spec.stop_token_ids.end(), token)) {
      client->expected_finish = core::FinishReason::kStop;
      break;
    }
  }
  if (output.size() < client->stop_after) client->stop_after = 0;
  return output;
}

void Simulation::SubmitRequest(uint64_t index) {
  core::RequestSpec spec;
  spec.id = core::RequestId(index);
  const uint32_t length = 1 + static_cast<uint32_t>(random_.Below(scenario_.max_model_len));
  const uint32_t prompt = 1 + static_cast<uint32_t>(random_.Below(length));
  for (uint32_t i = 0; i < prompt; ++i) {
    spec.prompt.push_back(static_cast<int32_t>(random_.Below(scenario_.vocab_size)));
  }
  spec.max_tokens = 1 + length - prompt;
  spec.sampling.seed = random_.Next64();
  if (random_.Bernoulli(0.5)) {
    spec.stop_token_ids = {static_cast<int32_t>(random_.Below(scenario_.vocab_size))};
  }
  spec.log = std::make_shared<core::TokenLog>(false);
  Client& client = clients_[spec.id];
  client.log = spec.log;
  if (random_.Bernoulli(scenario_.stop_rate)) {
    client.stop_after = 1 + static_cast<uint32_t>(random_.Below(spec.max_tokens));
  }
  client.expected = Expect(spec, &client);
  if (random_.Bernoulli(scenario_.deadline_rate)) {
    spec.deadline = now_ + Delay(30000);
    client.may_be_cut = true;
  }
  if (random_.Bernoulli(scenario_.cancel_rate)) {
    client.may_be_cut = true;
    const core::RequestId id = spec.id;
    const bool detach = random_.Bernoulli(0.5);
    After(Delay(20000), [this, id, detach] {
      if (detach) {
        Apply(core::Detach{id});
      } else {
        Apply(core::Cancel{id});
      }
    });
  }
  Apply(core::Submit{std::move(spec)});
}

// The core.

void Simulation::Apply(core::Event event) {
  core::Actions actions;
  core_.Apply(std::move(event), &actions);
  core_.CheckInvariants();
  for (const core::Action& action : actions) {
    std::visit([this](const auto& a) { On(a); }, action);
  }
  TickSoon();
}

void Simulation::TickSoon() {
  if (tick_pending_) return;
  tick_pending_ = true;
  After(random_.Bernoulli(0.5) ? absl::ZeroDuration() : Delay(20), [this] {
    tick_pending_ = false;
    core::Actions actions;
    core_.Apply(core::Tick{now_}, &actions);
    core_.CheckInvariants();
    for (const core::Action& action : actions) {
      std::visit([this](const auto& a) { On(a); }, action);
    }
  });
}

void Simulation::On(const core::Append& action) {
  Trace(absl::StrCat("append ", action.position, " ", action.id.value()));
  // Group commit: a position covers every record before it, and is reported once.
  After(Delay(300), [this, position = action.position] {
    if (position <= journal_durable_) return;
    journal_durable_ = position;
    Apply(core::JournalDurable{position});
  });
}

void Simulation::On(const core::Emit& action) {
  Trace(absl::StrCat("emit ", action.id.value(), " ", action.published));
  Client& client = clients_.at(action.id);
  if (action.published == 0) client.acknowledged = true;
  if (!client.acknowledged) Fail("tokens before the request was acknowledged");
  if (client.ended) Fail("tokens after the end");
  if (action.published < client.published) Fail("published length fell");
  client.published = action.published;
  if (client.stop_after > 0 && action.published >= client.stop_after) {
    After(Delay(200), [this, id = action.id, tokens = client.stop_after] {
      Apply(core::StopAt{id, tokens});
    });
  }
}

void Simulation::On(const core::End& action) {
  Trace(absl::StrCat("end ",
                     action.id.value(),
                     " ",
                     static_cast<int>(action.status.code()),
                     " ",
                     static_cast<int>(action.finish),
                     " ",
                     action.completion_tokens));
  Client& client = clients_.at(action.id);
  if (client.ended) Fail("ended twice");
  client.ended = true;
  CheckEnd(action.id, action, client);
}

void Simulation::CheckEnd(core::RequestId id, const core::End& end, const Client& client) {
  const std::string name = absl::StrCat("request ", id.value(), ": ");
  core::TokenLog::Cursor cursor(client.log.get());
  std::vector<int32_t> tokens;
  while (!cursor.AtEnd()) tokens.push_back(cursor.Next());
  report_.tokens += tokens.size();
  if (absl::IsResourceExhausted(end.status) || absl::IsInvalidArgument(end.status) ||
      absl::IsUnavailable(end.status)) {
    ++report_.refused;
    if (client.acknowledged) Fail(name + "refused after it was accepted");
    return;
  }
  if (end.completion_tokens > tokens.size()) Fail(name + "counts tokens that it never showed");
  size_t shown = std::min<size_t>(end.completion_tokens, tokens.size());
  // The core may find another end before it hears of a stop string; the text stage then cuts there.
  const bool late_stop = client.stop_after > 0 && shown > client.stop_after;
  if (late_stop) shown = client.stop_after;
  if (shown > client.expected.size()) {
    Fail(name + "counts tokens after its end");
  } else if (!std::equal(tokens.begin(), tokens.begin() + shown, client.expected.begin())) {
    Fail(name + "wrong token");
  }
  const bool own_end = end.status.ok() && end.finish != core::FinishReason::kCancelled;
  if (!own_end) {
    ++report_.cut_short;
    if (!client.may_be_cut) Fail(absl::StrCat(name, "cut short: ", end.status.ToString()));
    return;
  }
  ++report_.finished;
  if (shown != client.expected.size()) Fail(name + "wrong length");
  if (end.finish != client.expected_finish && shown != client.stop_after)
    Fail(name + "wrong reason");
}

// The group.

void Simulation::On(const core::OpenEpoch& action) {
  Trace(absl::StrCat("open ", action.epoch.value()));
  group_.On(action);
}

void Simulation::On(const core::SendPlan& action) {
  const core::StepPlan& plan = *action.plan;
  Trace(absl::StrCat("plan ",
                     plan.epoch.value(),
                     " ",
                     plan.step.value(),
                     " ",
                     plan.ops.size(),
                     " ",
                     plan.rows.size()));
  group_.On(action);
}

void Simulation::On(const core::Drop& action) {
  Trace(absl::StrCat("drop ", action.epoch.value()));
  group_.On(action);
}

// The run.

void Simulation::CheckAtRest() {
  const core::CoreStats stats = core_.stats();
  if (!core_.idle()) Fail("requests are left over");
  if (stats.free_blocks != stats.total_blocks) Fail("blocks are not back");
  if (stats.running != 0 || stats.waiting != 0) Fail("counts are not zero at rest");
  for (const auto& [id, client] : clients_) {
    if (!client.ended) Fail(absl::StrCat("request ", id.value(), " never ended"));
  }
  report_.epochs = group_.epochs();
  if (report_.epochs > 1 + group_.faults()) Fail("an epoch ended without a fault");
  report_.preemptions = stats.preemptions;
}

Report Simulation::Run() {
  group_.Join();
  PlanArrivals();
  const absl::Time give_up = now_ + kGiveUp;
  while (report_.error.empty() && now_ < give_up) {
    const absl::Time next_deadline = core_.NextDeadline();
    if (agenda_.empty() && next_deadline == absl::InfiniteFuture()) break;
    if (agenda_.empty() || next_deadline < agenda_.next_time()) {
      now_ = std::max(now_, next_deadline);
      TickSoon();
    }
    now_ = std::max(now_, agenda_.next_time());
    agenda_.Take()();
    if (!group_.error().empty()) Fail(group_.error());
  }
  if (report_.error.empty()) CheckAtRest();
  report_.trace_hash = trace_.value();
  return report_;
}

}  // namespace

Report Simulate(const Scenario& scenario) { return Simulation(scenario).Run(); }

}  // namespace pagoda::sim
