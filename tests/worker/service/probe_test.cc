#include "worker/service/probe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "kernels/cpu/cpu_backend.h"
#include "tests/testing/recording_backend.h"
#include "tests/testing/tiny_model.h"

namespace pagoda {
namespace {

using ::testing::HasSubstr;

ProbeOptions Options(uint64_t available) {
  return {.model = "models/demo", .device = [available](int) {
            return std::make_unique<testing::RecordingBackend>(
                DeviceMemory{.available = available, .total = uint64_t{4} << 30});
          }};
}

TEST(ProbeTest, TheDemoModelFitsInAGigabyte) {
  const auto report = Probe(Options(uint64_t{1} << 30));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->fits);
  for (const char* fact : {"a recording device; limit: ",
                           "1.0 GiB available of 4.0 GiB",
                           "LlamaForCausalLM, 6 layers, vocabulary 2048, up to 1024 tokens",
                           "parameters     5246208\n",
                           "3072 bytes of KV per token; in use",
                           "on 2 ranks     each 5.5 MiB of weights, 1536 bytes of KV per token\n",
                           "on 4 ranks     each 3.0 MiB of weights, 1536 bytes of KV per token\n",
                           "fits           yes"}) {
    EXPECT_THAT(report->text, HasSubstr(fact));
  }
}

TEST(ProbeTest, WithoutAModelTheMachineIsDescribed) {
  ProbeOptions options = Options(uint64_t{1} << 30);
  options.model.clear();
  const auto report = Probe(options);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->fits);
  EXPECT_THAT(report->text, HasSubstr("1.0 GiB available of 4.0 GiB"));
  EXPECT_THAT(report->text, ::testing::Not(HasSubstr("model")));
}

TEST(ProbeTest, ACpuNamesItsInstructionSets) {
  const auto report = Probe({.device = cpu::CpuDevice({.threads = 3, .isa = "scalar"})});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(report->text, HasSubstr("in use: scalar"));
  EXPECT_THAT(report->text, HasSubstr("3 threads"));
}

// Weights of 11,541,504 bytes leave the rest for blocks of 49,152.
TEST(ProbeTest, ThePoolIsWhatTheDeviceHasForItBesideTheWeights) {
  const auto all = Probe(Options(uint64_t{1} << 40));
  ASSERT_TRUE(all.ok());
  EXPECT_THAT(all->text, HasSubstr("16384 blocks of 16 tokens")) << "256 sequences at full length";
  uint64_t low = 1;
  uint64_t high = 1 << 30;
  while (low < high) {
    const uint64_t middle = (low + high) / 2;
    const auto report = Probe(Options(middle));
    ASSERT_TRUE(report.ok());
    if (report->fits) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  constexpr uint64_t kBlock = 3072 * 16;
  EXPECT_THAT(Probe(Options(low))->text, HasSubstr("1 blocks of 16 tokens"));
  EXPECT_THAT(Probe(Options(low + kBlock))->text, HasSubstr("kv pool        2 blocks"));
  EXPECT_THAT(Probe(Options(low - 1))->text, HasSubstr("no: no memory is left for a KV block"));
  EXPECT_THAT(Probe(Options(low - 1 - kBlock))->text, HasSubstr("too little"));
}

TEST(ProbeTest, AModelThatCannotBeServedIsAnError) {
  ProbeOptions options = Options(1 << 30);
  options.model = "models/nothing";
  EXPECT_EQ(Probe(options).status().code(), absl::StatusCode::kNotFound);
  const testing::TinyModel without_weights;
  options.model = without_weights.path();
  EXPECT_FALSE(Probe(options).ok());
  options = Options(1 << 30);
  options.device = cpu::CpuDevice({.isa = "abacus"});
  EXPECT_EQ(Probe(options).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace pagoda
