// A group of one rank in this process: a real runner over a real or random model, behind the link
// that the engine uses. Plans go through their wire bytes, as they do to a worker process.
//
//   GroupJoined -> OpenEpoch -> StepDone{0} -> StepDone ... -> (Kill, Drop, a refused plan) ->
//   GroupLost -> GroupJoined
//
// One thread of its own calls the runner and the sink.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "coordinator/core/request/capacity.h"
#include "coordinator/transport/group_link.h"
#include "coordinator/transport/plan_encoder.h"
#include "worker/runner/runner.h"

namespace pagoda::testing {

struct InProcessOptions {
  core::GroupId group;
  core::GroupCapacity capacity;
  RunnerOptions runner;
  // Blocks of a fresh pool, and blocks that no lane holds any more, are filled with NaN.
  bool poison_free_blocks = false;
};

class InProcessGroup final : public GroupLink {
 public:
  // Loads the model; then GroupJoined comes.
  static absl::StatusOr<std::unique_ptr<InProcessGroup>> Make(const InProcessOptions& options,
                                                              EventSink sink);
  ~InProcessGroup() override;

  void OpenEpoch(const core::OpenEpoch& open) override;
  void SendPlan(const core::SendPlan& send) override;
  void Drop(const core::Drop& drop) override;

  // As if the worker died: unanswered plans stay so, the pool is lost. False when no epoch was
  // open. Any thread.
  bool Kill();

  // What the runner has loaded. Any thread.
  const LoadedModel& model() const { return runner_->model(); }
  // Plans answered so far, over all epochs. Any thread.
  uint64_t steps() const;

 private:
  InProcessGroup(const InProcessOptions& options, std::unique_ptr<Runner> runner, EventSink sink);

  void Run();
  // Waits for an epoch, serves it to its end; an error says why it ended, OK: this is being
  // destroyed.
  absl::Status RunOnce();
  absl::Status ServeEpoch(const core::OpenEpoch& open);
  absl::Status Step(const std::string& bytes);
  void Poison();

  const InProcessOptions options_;
  const EventSink sink_;
  const std::unique_ptr<Runner> runner_;  // own thread, but for model()
  std::vector<bool> held_;                // own thread; blocks of the lanes after the last step
  PlanEncoder encoder_;                   // engine thread

  mutable Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<core::OpenEpoch> wanted_ ABSL_GUARDED_BY(mutex_);
  uint64_t epoch_ ABSL_GUARDED_BY(mutex_) = 0;               // wanted or open; 0: none
  std::optional<std::string> lost_ ABSL_GUARDED_BY(mutex_);  // why that epoch is to end
  std::deque<std::string> plans_ ABSL_GUARDED_BY(mutex_);
  uint64_t steps_ ABSL_GUARDED_BY(mutex_) = 0;

  std::thread thread_;
};

}  // namespace pagoda::testing
