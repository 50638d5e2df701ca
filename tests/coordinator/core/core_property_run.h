// Random operations on one core: a pool of a few blocks, a vocabulary of two tokens, and every kind
// of event at any moment. The core audits itself after each; the rest is checked from outside, from
// the actions alone. The same seed does the same.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/random.h"
#include "coordinator/core/core.h"
#include "tests/sim/sim_worker.h"

namespace pagoda::core {

// What the runs reached, over all cores.
struct Reached {
  uint64_t operations = 0;
  uint64_t refused = 0;
  uint64_t finished = 0;  // stop or length
  uint64_t cancelled = 0;
  uint64_t late = 0;    // past their deadline
  uint64_t failed = 0;  // a row failed, or the pool shrank
  uint64_t stopped = 0;
  uint64_t drops = 0;
  uint64_t stale = 0;
  uint64_t epochs = 0;
  uint64_t preemptions = 0;
};

// What the test knows of a request.
struct Client {
  std::shared_ptr<TokenLog> log;
  std::vector<int32_t> prompt;
  uint64_t seed = 0;
  uint32_t max_tokens = 0;
  uint64_t accept_position = 0;  // in the journal; 0: not written
  uint64_t end_position = 0;
  uint32_t stop_at = 0;  // the stop that ended it; 0: none
  uint32_t published = 0;
  bool acknowledged = false;
  bool ended = false;
};

class PropertyRun {
 public:
  PropertyRun(uint64_t seed, Reached* reached);
  // So many random operations, then everything accepted runs to its end. Returns the first broken
  // property; empty: none.
  std::string Run(uint64_t operations);

 private:
  static constexpr int32_t kVocabSize = 2;

  uint32_t Between(uint32_t low, uint32_t high) {
    return low + static_cast<uint32_t>(random_.Below(high - low + 1));
  }
  void Fail(const std::string& what) {
    if (error_.empty()) error_ = what;
  }
  void Check(bool holds, const std::string& what) {
    if (!holds) Fail(what);
  }

  void Apply(Event event);
  void On(const SendPlan& action);
  void On(const Append& action);
  void On(const Emit& action);
  void On(const End& action);
  void On(const OpenEpoch& action);
  void On(const Drop& action);
  void CheckPlan(const StepPlan& plan);
  void CheckTokens(const Client& client, const End& end);

  void Operate();
  void SubmitOne();
  // Often one that lives, sometimes one that ended or never was.
  RequestId Anyone() { return RequestId(Between(last_id_ > 8 ? last_id_ - 8 : 1, last_id_ + 1)); }
  void EndByClient(bool detach);
  void StopSomewhere();
  void SomeDurable();
  void Answer();
  void WrongAnswer();
  void StaleAnswer();
  void Join();
  void Lose();
  void WorkerGone();
  void Later();
  void FinishAll();

  Random random_;
  Reached* const reached_;
  const uint32_t depth_;
  const uint32_t max_model_len_;
  const sim::Model tokens_ = sim::HashModel(kVocabSize);
  Core core_;
  absl::Time now_ = absl::UnixEpoch();
  std::string error_;
  bool faults_ = true;
  bool draining_ = false;
  uint32_t last_id_ = 0;
  std::map<RequestId, Client> clients_;
  uint64_t journal_end_ = 0;
  uint64_t journal_durable_ = 0;
  Epoch epoch_;
  GroupCapacity capacity_;
  std::unique_ptr<sim::SimWorker> worker_;  // null: no group
  std::set<int32_t> bound_;                 // lanes
  std::deque<StepDone> answers_;            // of this epoch, not delivered
  std::vector<StepDone> stale_;             // of epochs before
};

}  // namespace pagoda::core
