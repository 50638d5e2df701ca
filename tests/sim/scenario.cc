#include <string>

#include "absl/strings/str_format.h"
#include "common/random.h"
#include "tests/sim/simulator.h"

namespace pagoda::sim {

Scenario Scenario::Draw(uint64_t seed) {
  Random random(seed ^ 0x5ce7a210ULL);
  const auto between = [&random](uint32_t low, uint32_t high) {
    return low + static_cast<uint32_t>(random.Below(high - low + 1));
  };
  Scenario scenario;
  scenario.seed = seed;
  scenario.depth = between(1, 3);  // the server uses 1 and 2
  scenario.block_size = between(1, 8);
  scenario.num_blocks = between(1, 40);
  scenario.max_lanes = between(1, 12);
  scenario.max_step_tokens = random.Bernoulli(0.2) ? between(1, 3) : between(4, 64);
  scenario.max_model_len = between(2, 60);
  scenario.requests = between(1, 60);
  scenario.vocab_size = random.Bernoulli(0.5) ? 2 : between(2, 1000);
  scenario.cancel_rate = random.Bernoulli(0.5) ? 0.3 : 0;
  scenario.stop_rate = random.Bernoulli(0.5) ? 0.3 : 0;
  scenario.deadline_rate = random.Bernoulli(0.3) ? 0.2 : 0;
  scenario.ranks = random.Bernoulli(0.5) ? 1 : 1u << between(1, 3);
  // The more ranks, the rarer for each, or no epoch would last.
  scenario.death_rate = random.Bernoulli(0.5) ? 0.02 / scenario.ranks : 0;
  scenario.hang_rate = random.Bernoulli(0.3) ? 0.005 / scenario.ranks : 0;
  scenario.lie_rate = random.Bernoulli(0.2) ? 0.02 : 0;
  return scenario;
}

std::string Scenario::ToString() const {
  return absl::StrFormat(
      "seed %d: %d ranks, depth %d, %d blocks of %d, %d lanes, %d tokens a step, %d requests",
      seed,
      ranks,
      depth,
      num_blocks,
      block_size,
      max_lanes,
      max_step_tokens,
      requests);
}

}  // namespace pagoda::sim
