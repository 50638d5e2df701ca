#include "tests/coordinator/core/core_harness.h"

#include <utility>
#include <variant>

#include "common/check.h"
#include "tests/coordinator/core/action_text.h"

namespace pagoda::core {

std::vector<std::string> CoreHarness::Apply(Event event) {
  std::vector<std::string> texts;
  Actions actions;
  core_.Apply(std::move(event), &actions);
  while (true) {
    core_.CheckInvariants();
    for (const Action& action : actions) {
      texts.push_back(ActionText(action));
      std::visit([this](const auto& a) { On(a); }, action);
    }
    actions.clear();
    if (!journal_at_once_ || journal_durable_ == journal_end_) return texts;
    journal_durable_ = journal_end_;
    core_.Apply(JournalDurable{journal_end_}, &actions);
  }
}

std::optional<int32_t> CoreHarness::Draw(const sim::Drawing& drawing) const {
  const auto it = draws_.find({drawing.seed, drawing.generated});
  if (it != draws_.end()) return it->second;
  return static_cast<int32_t>(100 * drawing.seed + drawing.generated + 1);
}

void CoreHarness::On(const SendPlan& action) {
  Group& group = groups_.at(action.group);
  CHECK(group.worker != nullptr);
  StepDone done = group.worker->Execute(*action.plan);
  done.group = action.group;
  group.answers.push_back(std::move(done));
}

void CoreHarness::On(const OpenEpoch& action) {
  Group& group = groups_[action.group];
  group.epoch = action.epoch;
  group.worker =
      std::make_unique<sim::SimWorker>(action.epoch,
                                       action.capacity,
                                       [this](const sim::Drawing& d) { return Draw(d); });
  group.answers.clear();
  group.answers.push_back({.group = action.group, .epoch = action.epoch});
}

void CoreHarness::On(const Drop& action) { groups_.at(action.group).answers.clear(); }

std::vector<std::string> CoreHarness::Join(const GroupCapacity& capacity, GroupId group) {
  return Apply(GroupJoined{.group = group, .capacity = capacity});
}

void CoreHarness::Open(const GroupCapacity& capacity, GroupId group) {
  Join(capacity, group);
  Answer(group);
}

std::vector<std::string> CoreHarness::Lose(GroupId group) {
  answers(group).clear();
  return Apply(GroupLost{.group = group, .epoch = groups_[group].epoch, .reason = "gone"});
}

RequestSpec CoreHarness::Request(uint64_t id, uint32_t prompt, uint32_t max_tokens) {
  RequestSpec spec;
  spec.id = RequestId(id);
  spec.log = std::make_shared<TokenLog>(false);
  spec.prompt.assign(prompt, static_cast<int32_t>(id));
  spec.max_tokens = max_tokens;
  spec.sampling.seed = id;
  logs_[spec.id] = spec.log;
  return spec;
}

std::vector<std::string> CoreHarness::Submit(uint64_t id, uint32_t prompt, uint32_t max_tokens) {
  return Submit(Request(id, prompt, max_tokens));
}

std::vector<std::string> CoreHarness::Tick(absl::Duration later) {
  now_ += later;
  return Apply(core::Tick{now_});
}

std::vector<std::string> CoreHarness::Answer(GroupId group) {
  std::deque<StepDone>& answers = groups_.at(group).answers;
  CHECK(!answers.empty()) << " nothing is unanswered";
  StepDone done = std::move(answers.front());
  answers.pop_front();
  return Apply(std::move(done));
}

void CoreHarness::Run() {
  bool something = true;
  while (something) {
    Tick();
    something = false;
    for (auto& [id, group] : groups_) {
      if (group.answers.empty()) continue;
      Answer(id);
      something = true;
    }
  }
}

const End* CoreHarness::ended(uint64_t id) const {
  const auto it = ended_.find(RequestId(id));
  return it == ended_.end() ? nullptr : &it->second;
}

std::vector<int32_t> CoreHarness::Tokens(uint64_t id) const {
  TokenLog::Cursor cursor(&log(id));
  std::vector<int32_t> tokens;
  while (!cursor.AtEnd()) tokens.push_back(cursor.Next());
  return tokens;
}

}  // namespace pagoda::core
