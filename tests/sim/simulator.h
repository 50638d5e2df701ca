// The simulator: the production core in virtual time, with a simulated group of one or several
// ranks and a seeded hand that makes bursts, cancels, stop strings, deadlines, slow answers, slow
// journals, deaths, hangs and wrong tables of ranks. What comes out is compared with what a
// fault-free run must give.
#pragma once

#include <cstdint>
#include <string>

namespace pagoda::sim {

// What a run is made of; all drawn from the seed.
struct Scenario {
  uint64_t seed = 0;
  uint32_t ranks = 1;
  uint32_t depth = 2;
  uint32_t num_blocks = 0;
  uint32_t block_size = 0;
  uint32_t max_lanes = 0;
  uint32_t max_step_tokens = 0;
  uint32_t max_model_len = 0;
  uint32_t requests = 0;
  uint32_t vocab_size = 0;
  double cancel_rate = 0;    // of requests
  double stop_rate = 0;      // of requests: a stop string is found in their text
  double deadline_rate = 0;  // of requests
  double death_rate = 0;     // of a rank's answers: it dies instead, and the group with it
  double hang_rate = 0;      // of a rank's answers: it never comes
  double lie_rate = 0;       // of a rank's table digests: it is another

  static Scenario Draw(uint64_t seed);
  std::string ToString() const;
};

struct Report {
  uint64_t trace_hash = 0;  // over all actions
  uint64_t finished = 0;    // requests that ran to their own end, all tokens checked
  uint64_t cut_short = 0;   // cancelled, past their deadline: a correct prefix
  uint64_t refused = 0;
  uint64_t preemptions = 0;
  uint64_t epochs = 0;
  uint64_t tokens = 0;
  std::string error;  // empty: every check held
};

// Runs to the end: every request over, every block back. Broken protocol is a CHECK.
Report Simulate(const Scenario& scenario);

}  // namespace pagoda::sim
