// What the environment says of the fake device; and in test programs every repetition
// (--gtest_repeat) is the next schedule.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <memory>

#include "tests/testing/fake_cuda/runtime.h"

namespace pagoda::fake_cuda {
namespace {

uint64_t FromEnvironment(const char* name) {
  const char* const text = std::getenv(name);
  return text == nullptr ? 1 : std::strtoull(text, nullptr, 10);
}

class Schedules final : public ::testing::Environment {
 public:
  void SetUp() override { SetSeed(seed_++); }

 private:
  uint64_t seed_ = FirstSeed();
};

[[maybe_unused]] ::testing::Environment* const added =
    ::testing::AddGlobalTestEnvironment(std::make_unique<Schedules>().release());

}  // namespace

uint64_t FirstSeed() { return FromEnvironment("PAGODA_FAKE_CUDA_SEED"); }

std::atomic<int> device_count = static_cast<int>(FromEnvironment("PAGODA_FAKE_CUDA_DEVICES"));

}  // namespace pagoda::fake_cuda
