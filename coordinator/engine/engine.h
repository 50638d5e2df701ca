// The loop around the core: takes events, applies them, performs the actions. It decides nothing.
//
// One engine thread runs it; everything else talks to it through Post and the published snapshot,
// which answers while the engine is busy or stuck.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "common/queue.h"
#include "coordinator/core/core.h"
#include "coordinator/transport/group_link.h"

namespace pagoda {

// Who reads what requests produce. Called on the engine thread; must not block.
class OutputSink {
 public:
  virtual ~OutputSink() = default;
  virtual void Published(const core::Emit& emit) = 0;
  virtual void Ended(const core::End& end) = 0;
  // A batch of the calls above is complete: the moment to wake others, once.
  virtual void Flush() = 0;
};

class Engine {
 public:
  struct Snapshot {
    core::CoreStats stats;
    absl::Time at;  // of the engine's last turn
  };

  // `clock` and `outputs` outlive the engine.
  Engine(const core::CoreOptions& options, const Clock* clock, OutputSink* outputs);
  // Stops without draining. What links post while they close is dropped.
  ~Engine();

  // Before Start only. The link reports to this engine's Post.
  void AddGroup(core::GroupId group, std::unique_ptr<GroupLink> link);
  // Before Start only. Called on the engine thread whenever it changes whether a group
  // is open and new requests are taken.
  void SetReadyCallback(std::function<void(bool ready)> callback);
  void Start();

  // Any thread. Blocks while the queue is full; without effect once the engine stops.
  void Post(core::Event event);

  // Any thread.
  Snapshot snapshot() const;
  // Waits until no request is unfinished or `deadline` passed; answers which.
  bool WaitIdle(absl::Time deadline);

 private:
  void Run();
  void Apply(core::Event event);
  void Perform(const core::Action& action);
  void Publish(uint64_t applied);

  const Clock* const clock_;
  OutputSink* const outputs_;
  BoundedQueue<core::Event> events_;
  std::map<core::GroupId, std::unique_ptr<GroupLink>> links_;

  // Engine thread only.
  core::Core core_;
  core::Actions actions_;
  std::function<void(bool)> ready_changed_;
  bool was_ready_ = false;
  uint64_t journal_written_ = 0;
  uint64_t journal_durable_ = 0;

  mutable Mutex mutex_;
  CondVar idle_;
  Snapshot snapshot_ ABSL_GUARDED_BY(mutex_);
  bool core_idle_ ABSL_GUARDED_BY(mutex_) = true;
  uint64_t posted_ ABSL_GUARDED_BY(mutex_) = 0;   // events
  uint64_t applied_ ABSL_GUARDED_BY(mutex_) = 0;  // of those

  std::thread thread_;
};

}  // namespace pagoda
