// PAGODA_PROPERTY_OPS=N does so many random operations; PAGODA_PROPERTY_SEED=N begins with that
// seed.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <iostream>

#include "common/random.h"
#include "tests/coordinator/core/core_property_run.h"

namespace pagoda::core {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

TEST(CorePropertyTest, HoldsUnderRandomOperations) {
  const uint64_t operations = FromEnvironment("PAGODA_PROPERTY_OPS", 100000);
  uint64_t seed = FromEnvironment("PAGODA_PROPERTY_SEED", 1);
  Reached reached;
  for (; reached.operations < operations; ++seed) {
    std::cerr << seed << ' ' << std::flush;  // the last one, when a CHECK ends the program
    const uint64_t most = 100 + Random(~seed).Below(400);
    ASSERT_EQ(PropertyRun(seed, &reached).Run(most), "") << "PAGODA_PROPERTY_SEED=" << seed;
  }
  std::cerr << "\nfinished " << reached.finished << ", cancelled " << reached.cancelled << ", late "
            << reached.late << ", failed " << reached.failed << ", stopped " << reached.stopped
            << ", refused " << reached.refused << ", preemptions " << reached.preemptions
            << ", epochs " << reached.epochs << ", drops " << reached.drops << ", stale "
            << reached.stale << "\n";
  // The operations must reach what they are for.
  EXPECT_GT(reached.finished, operations / 100);
  EXPECT_GT(reached.refused, operations / 100);
  for (uint64_t count : {reached.cancelled,
                         reached.late,
                         reached.failed,
                         reached.stopped,
                         reached.drops,
                         reached.stale,
                         reached.epochs,
                         reached.preemptions}) {
    EXPECT_GT(count, operations / 1000);
  }
}

}  // namespace
}  // namespace pagoda::core
