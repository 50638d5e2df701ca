// The seed of the first schedule; and in test programs every repetition (--gtest_repeat) is the
// next.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <memory>

#include "tests/testing/fake_cuda/runtime.h"

namespace pagoda::fake_cuda {
namespace {

class Schedules final : public ::testing::Environment {
 public:
  void SetUp() override { SetSeed(seed_++); }

 private:
  uint64_t seed_ = FirstSeed();
};

[[maybe_unused]] ::testing::Environment* const added =
    ::testing::AddGlobalTestEnvironment(std::make_unique<Schedules>().release());

}  // namespace

uint64_t FirstSeed() {
  const char* seed = std::getenv("PAGODA_FAKE_CUDA_SEED");
  return seed == nullptr ? 1 : std::strtoull(seed, nullptr, 10);
}

}  // namespace pagoda::fake_cuda
