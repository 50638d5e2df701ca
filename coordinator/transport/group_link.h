// How the engine reaches one group of workers. Implementations: GrpcGroup (processes), and in tests
// an in-process one.
//
// A link finds its workers, has them load the model, reports GroupJoined, then serves one epoch
// after another until it is destroyed. It reports through the sink it was made with: GroupJoined,
// StepDone, GroupLost, in order, from any thread. The calls below come from the engine thread and
// do not block.
#pragma once

#include <functional>

#include "absl/strings/string_view.h"
#include "coordinator/core/action.h"
#include "coordinator/core/event.h"

namespace pagoda {

using EventSink = std::function<void(core::Event)>;

class GroupLink {
 public:
  virtual ~GroupLink() = default;

  // Configures every rank and opens the epoch's stream; answered by StepDone{step 0} or GroupLost.
  virtual void OpenEpoch(const core::OpenEpoch& open) = 0;

  // Sends a plan to every rank. Without effect when that epoch is over.
  virtual void SendPlan(const core::SendPlan& send) = 0;

  // The core gave the epoch up: close it, and have workers that hang killed. The link starts over.
  virtual void Drop(const core::Drop& drop) = 0;
};

}  // namespace pagoda
