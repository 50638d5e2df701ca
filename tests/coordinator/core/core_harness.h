// A Core with everything around it that a test needs: a clock, a journal, and a worker per group
// that executes every plan when it is sent. Answers wait until the test delivers them.
//
// What a request draws is known beforehand: request 3's tokens are 301, 302, 303, ... unless the
// test says otherwise.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/core/core.h"
#include "tests/sim/sim_worker.h"

namespace pagoda::core {

class CoreHarness {
 public:
  static GroupCapacity Capacity() {
    return {.num_blocks = 8,
            .block_size = 2,
            .max_lanes = 4,
            .max_step_tokens = 8,
            .max_model_len = 32};
  }

  explicit CoreHarness(const CoreOptions& options = {}) : core_(options) {}

  // The journal answers every record at once; else the test does, with Durable().
  void set_journal_at_once(bool at_once) { journal_at_once_ = at_once; }

  // Applies the event, audits the core, performs the actions. Returns their texts.
  std::vector<std::string> Apply(Event event);

  // Group `group` joins and its epoch opens.
  void Open(const GroupCapacity& capacity = Capacity(), GroupId group = GroupId(0));
  std::vector<std::string> Join(const GroupCapacity& capacity = Capacity(),
                                GroupId group = GroupId(0));
  std::vector<std::string> Lose(GroupId group = GroupId(0));

  // A request whose prompt is `prompt` tokens of its own number.
  RequestSpec Request(uint64_t id, uint32_t prompt, uint32_t max_tokens);
  std::vector<std::string> Submit(uint64_t id, uint32_t prompt, uint32_t max_tokens);
  std::vector<std::string> Submit(RequestSpec spec) { return Apply(core::Submit{std::move(spec)}); }
  std::vector<std::string> Cancel(uint64_t id) { return Apply(core::Cancel{RequestId(id)}); }
  std::vector<std::string> StopAt(uint64_t id, uint32_t tokens) {
    return Apply(core::StopAt{RequestId(id), tokens});
  }
  // The journal's records up to the last one are durable.
  std::vector<std::string> Durable() { return Apply(JournalDurable{journal_end_}); }

  // Token number `index` (from 0) of the request is `token`; nothing: its row fails.
  void Draws(uint64_t id, uint32_t index, std::optional<int32_t> token) {
    draws_[{id, index}] = token;
  }

  std::vector<std::string> Tick(absl::Duration later = absl::ZeroDuration());
  // Delivers the oldest answer. REQUIRES: answers() is not empty.
  std::vector<std::string> Answer(GroupId group = GroupId(0));
  // Answers that were not delivered, oldest first; a test may change them.
  std::deque<StepDone>& answers(GroupId group = GroupId(0)) { return groups_[group].answers; }
  // Ticks and answers until nothing is left to do.
  void Run();

  // How the request ended; nothing while it lives.
  const End* ended(uint64_t id) const;
  // The published tokens of a request.
  std::vector<int32_t> Tokens(uint64_t id) const;
  const TokenLog& log(uint64_t id) const { return *logs_.at(RequestId(id)); }
  Core& core() { return core_; }
  CoreStats stats() const { return core_.stats(); }
  absl::Time now() const { return now_; }

 private:
  struct Group {
    Epoch epoch;
    std::unique_ptr<sim::SimWorker> worker;
    std::deque<StepDone> answers;
  };

  std::optional<int32_t> Draw(const sim::Drawing& drawing) const;
  void On(const SendPlan& action);
  void On(const core::Append& action) { journal_end_ = action.position; }
  void On(const Emit&) {}
  void On(const End& action) { ended_[action.id] = action; }
  void On(const OpenEpoch& action);
  void On(const Drop& action);

  Core core_;
  bool journal_at_once_ = true;
  uint64_t journal_end_ = 0;
  uint64_t journal_durable_ = 0;
  absl::Time now_ = absl::UnixEpoch();
  std::map<GroupId, Group> groups_;
  std::map<RequestId, std::shared_ptr<TokenLog>> logs_;
  std::map<RequestId, End> ended_;
  std::map<std::pair<uint64_t, uint32_t>, std::optional<int32_t>> draws_;
};

}  // namespace pagoda::core
