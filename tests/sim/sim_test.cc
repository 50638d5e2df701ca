#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "tests/sim/simulator.h"

namespace pagoda::sim {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

// PAGODA_SIM_SEED=N runs that seed alone, PAGODA_SIM_SEEDS=N so many of them.
TEST(SimTest, EveryRequestEndsAsInAFaultFreeRun) {
  const uint64_t only = FromEnvironment("PAGODA_SIM_SEED", 0);
  const uint64_t seeds = FromEnvironment("PAGODA_SIM_SEEDS", 2000);
  Report total;
  for (uint64_t seed = only > 0 ? only : 1; seed <= (only > 0 ? only : seeds); ++seed) {
    const Scenario scenario = Scenario::Draw(seed);
    const Report report = Simulate(scenario);
    ASSERT_EQ(report.error, "") << scenario.ToString() << "\nrepeat: PAGODA_SIM_SEED=" << seed
                                << " build/release/tests/sim_test";
    total.finished += report.finished;
    total.cut_short += report.cut_short;
    total.refused += report.refused;
    total.preemptions += report.preemptions;
    total.epochs += report.epochs;
  }
  if (only > 0) return;
  // The seeds must reach what they are for.
  EXPECT_GT(total.finished, seeds * 5);
  EXPECT_GT(total.cut_short, seeds / 4);
  EXPECT_GT(total.refused, seeds / 4);
  EXPECT_GT(total.preemptions, seeds);
  EXPECT_GT(total.epochs, seeds + seeds / 2);
}

TEST(SimTest, SameSeedSameTrace) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    const Scenario scenario = Scenario::Draw(seed);
    EXPECT_EQ(Simulate(scenario).trace_hash, Simulate(scenario).trace_hash) << scenario.ToString();
  }
}

}  // namespace
}  // namespace pagoda::sim
