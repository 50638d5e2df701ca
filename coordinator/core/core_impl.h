// The private class behind Core: state and the handler of each event. Its functions are in core.cc
// (time, views), core_requests.cc and core_groups.cc.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "common/check.h"
#include "coordinator/core/core.h"
#include "coordinator/core/recovery/group_epoch.h"
#include "coordinator/core/scheduler/cost_model.h"
#include "coordinator/core/scheduler/group_scheduler.h"

namespace pagoda::core {

class Core::Impl {
 public:
  explicit Impl(const CoreOptions& options) : options_(options) { CHECK_GE(options.depth, 1u); }

  void Apply(Event event, Actions* actions) {
    actions_ = actions;
    std::visit([this](auto& e) { On(e); }, event);
    actions_ = nullptr;
  }

  CoreStats stats() const;
  bool idle() const { return sequences_.empty(); }
  absl::Time NextDeadline() const;
  void CheckInvariants() const;

 private:
  struct Group {
    Group(const GroupCapacity& capacity, const CoreOptions& options)
        : capacity(capacity), scheduler(capacity, options.depth, FirstComeFirstServed()) {}

    GroupCapacity capacity;
    GroupEpoch epoch;
    GroupScheduler scheduler;
    CostModel cost;
    uint64_t planned_steps = 0;     // of this epoch
    std::vector<StepDone> answers;  // of rank 0, to steps that other ranks have not answered
  };
  using Record = Append::Kind;

  void On(Submit& event);
  void On(Cancel& event) { EndByClient(event.id); }
  void On(Detach& event) { EndByClient(event.id); }
  void On(GroupJoined& event);
  void On(GroupLost& event);
  void On(StepDone& event);
  void On(StopAt& event);
  void On(JournalDurable& event);
  void On(Drain&) { draining_ = true; }
  void On(Tick& event);

  Sequence* Find(RequestId id) const;
  bool Lives(const Sequence* sequence) const;
  absl::Status Refusal(const RequestSpec& spec) const;
  void Accepted(Sequence* sequence);
  static absl::Status PoolTooSmall(uint32_t blocks);
  void EndByClient(RequestId id);
  void Finish(Sequence* sequence, absl::Status status, FinishReason reason);
  void Write(Record kind, RequestId id);

  void Lose(Group* group);
  // Books a rank's answer and does what follows from every step that is complete with it.
  absl::Status TakeAnswers(Group* group, StepDone* event);
  void Fail(GroupId id, Group* group, std::string reason);
  void Opened(Group* group);
  absl::Status TakeAnswer(Group* group, StepDone* event);
  void TakeToken(Sequence* sequence, int32_t token, TokenLogprobs* logprobs);
  void Plan(GroupId id, Group* group);

  const CoreOptions options_;
  absl::Time now_ = absl::UnixEpoch();
  bool draining_ = false;
  absl::flat_hash_map<RequestId, std::unique_ptr<Sequence>> sequences_;  // never iterated to decide
  std::map<GroupId, Group> groups_;  // destroyed before the sequences, whose blocks they take back
  std::set<std::pair<absl::Time, RequestId>> deadlines_;  // finite ones
  std::deque<std::pair<Record, RequestId>> undurable_;    // journal records, in order
  uint64_t journal_end_ = 0;                              // position of the last record
  uint64_t arrivals_ = 0;
  uint32_t accepting_ = 0;  // sequences whose accept record is not durable
  uint64_t generated_ = 0;
  uint64_t epochs_ = 0;
  uint64_t finished_ = 0;
  Actions* actions_ = nullptr;  // of the Apply at hand
};

}  // namespace pagoda::core
