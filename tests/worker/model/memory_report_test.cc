#include "worker/model/memory_report.h"

#include "common/check.h"
#include "gtest/gtest.h"
#include "tests/worker/model/model_files.h"
#include "worker/model/arch.h"

namespace pagoda {
namespace {

ModelConfig Tiny(bool tied) {
  auto config = ParseModelConfig(testing::TinyConfig(tied), "");
  CHECK_OK(config);
  return *config;
}

MemoryReport Report(const ModelConfig& config, DType dtype) {
  return EstimateMemory(**FindArch(config.architecture), config, dtype);
}

TEST(MemoryReportTest, WeightsAreThoseOfTheTensors) {
  // Two layers of q 32x32, k and v 16x32, o 32x32, gate, up, down 48x32; table and head 16x32.
  const uint64_t matrices = 2 * (32 * 32 + 2 * 16 * 32 + 32 * 32 + 3 * 48 * 32) + 2 * 16 * 32;
  const uint64_t norms = 5 * 32 * 4;
  for (const bool tied : {false, true}) {
    EXPECT_EQ(Report(Tiny(tied), DType::kBf16).weight_bytes, 2 * matrices + norms);
    EXPECT_EQ(Report(Tiny(tied), DType::kF32).weight_bytes, 4 * matrices + norms);
  }
}

TEST(MemoryReportTest, KvPerTokenIsAllLayersKAndV) {
  EXPECT_EQ(Report(Tiny(true), DType::kBf16).kv_bytes_per_token, 2u * 2 * 2 * 2 * 8);
  EXPECT_EQ(Report(Tiny(true), DType::kF32).kv_bytes_per_token, 2u * 4 * 2 * 2 * 8);
}

TEST(MemoryReportTest, TheLengthThatFitsIsWholeBlocksBesideTheReservedOne) {
  const ModelConfig config = Tiny(true);
  const MemoryReport report = {.weight_bytes = 1000, .kv_bytes_per_token = 10};
  const auto fits = [&](uint64_t available) {
    return MaxLengthThatFits(report, config, available, 8);
  };
  EXPECT_EQ(fits(0), 0);
  EXPECT_EQ(fits(1000), 0);
  EXPECT_EQ(fits(1000 + 159), 0);  // one block: the reserved one
  EXPECT_EQ(fits(1000 + 160), 8);
  EXPECT_EQ(fits(1000 + 239), 8);
  EXPECT_EQ(fits(1000 + 240), 16);
  EXPECT_EQ(fits(uint64_t{1} << 40), 64);  // max_position_embeddings
}

TEST(MemoryReportTest, TheLargestAllowedConfigurationDoesNotOverflow) {
  ModelConfig config = Tiny(false);
  config.vocab_size = 1 << 22;
  config.hidden_size = config.intermediate_size = 1 << 20;
  config.num_layers = 1024;
  config.num_heads = config.num_kv_heads = 4096;
  config.head_dim = 1024;
  const double layers = 1024.0 * (4.0 * (1 << 22) + 3.0 * (1 << 20)) * (1 << 20);
  const double expected = 4 * (layers + 2.0 * (1 << 22) * (1 << 20));
  EXPECT_NEAR(static_cast<double>(Report(config, DType::kF32).weight_bytes) / expected, 1, 1e-3);
}

}  // namespace
}  // namespace pagoda
