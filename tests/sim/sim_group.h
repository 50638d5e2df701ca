// A group of simulated ranks: what each computes, when its answers come, and how it fails. Each
// rank has blocks of its own, and all must draw the same.
//
// Faults are drawn for every answer of every rank: it dies (the group is lost a little later), it
// hangs (the other ranks may go on answering for a while), its tables differ from what they should
// be, or its answer is slow, so that ranks run ahead of each other.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/random.h"
#include "coordinator/core/action.h"
#include "coordinator/core/event.h"
#include "tests/sim/agenda.h"
#include "tests/sim/sim_worker.h"
#include "tests/sim/simulator.h"

namespace pagoda::sim {

class SimGroup {
 public:
  // `apply` hands an event to the core, `now` is the virtual time; both outlive this.
  SimGroup(const Scenario& scenario,
           Model model,
           Random* random,
           Agenda* agenda,
           const absl::Time* now,
           std::function<void(core::Event)> apply);

  // All ranks have loaded the model, for the first time or again.
  void Join();
  void On(const core::OpenEpoch& action);
  void On(const core::SendPlan& action);
  void On(const core::Drop& action);

  uint64_t faults() const { return faults_; }  // that end an epoch
  uint64_t epochs() const { return epochs_; }
  const std::string& error() const { return error_; }  // empty: none

 private:
  struct Rank {
    std::unique_ptr<SimWorker> worker;
    bool answers = true;                  // else it hangs, or waits for one that does
    absl::Time free = absl::UnixEpoch();  // its answers come in order
  };

  absl::Duration Delay(int64_t max_us) {
    return absl::Microseconds(1 + static_cast<int64_t>(random_.Below(max_us)));
  }
  bool alive() const { return !ranks_.empty(); }
  // The rank answers, unless something happens to it.
  void Answer(uint32_t rank, core::StepDone done);
  void Hang(uint32_t rank);
  void Die(core::Epoch epoch);
  void RejoinLater();

  const Scenario scenario_;
  const Model model_;
  Random& random_;
  Agenda& agenda_;
  const absl::Time& now_;
  const std::function<void(core::Event)> apply_;
  core::Epoch epoch_;
  std::vector<Rank> ranks_;  // empty: dead
  uint64_t faults_ = 0;
  uint64_t epochs_ = 0;
  bool join_pending_ = false;
  bool joining_ = false;
  uint64_t lie_ = 0;  // the first step of this epoch with a wrong digest; 0: none
  std::string error_;
};

}  // namespace pagoda::sim
