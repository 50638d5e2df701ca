// The decoder on the CPU backend against the logits that PyTorch computed (tests/golden/oracle).
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "common/check.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/worker/model/model_files.h"
#include "tests/worker/model/prompt_runner.h"
#include "worker/model/loader.h"

namespace pagoda {
namespace {

using testing::PromptLogits;
using testing::Way;
using testing::Ways;

struct Fixture {
  std::string directory;
  std::vector<int32_t> input_ids;
  std::vector<int32_t> positions;
  int64_t vocab_size = 0;
  double allowed = 0;           // largest difference of a logit
  std::vector<float> expected;  // [positions][vocab_size]
};

Fixture ReadFixture(const std::string& name) {
  Fixture fixture;
  fixture.directory = "tests/golden/oracle/llama_" + name;
  const nlohmann::json json =
      nlohmann::json::parse(testing::ReadFile(fixture.directory + "/expected.json"));
  fixture.input_ids = json.at("input_ids").get<std::vector<int32_t>>();
  fixture.positions = json.at("positions").get<std::vector<int32_t>>();
  fixture.vocab_size = json.at("vocab_size").get<int64_t>();
  fixture.allowed =
      json.at("tolerance").get<double>() * std::max(1.0, json.at("max_abs_logit").get<double>());
  const std::string bytes = testing::ReadFile(fixture.directory + "/expected.f32");
  fixture.expected.resize(bytes.size() / sizeof(float));
  std::memcpy(fixture.expected.data(), bytes.data(), bytes.size());
  CHECK_EQ(fixture.expected.size(), fixture.positions.size() * fixture.vocab_size);
  return fixture;
}

class OracleTest : public ::testing::TestWithParam<std::string> {};

LoadOptions Options(const Fixture& fixture, const std::string& dtype) {
  LoadOptions options;
  options.directory = fixture.directory;
  options.dtype = dtype;
  options.backend_kind = "cpu";
  return options;
}

// The largest difference from PyTorch's logits.
double WorstDifference(const Fixture& fixture, const std::vector<float>& logits) {
  CHECK_EQ(logits.size(), fixture.input_ids.size() * fixture.vocab_size);
  double worst = 0;
  for (size_t row = 0; row < fixture.positions.size(); ++row) {
    for (int64_t id = 0; id < fixture.vocab_size; ++id) {
      const double got = logits[fixture.positions[row] * fixture.vocab_size + id];
      if (!std::isfinite(got)) return INFINITY;
      worst = std::max(worst, std::abs(got - fixture.expected[row * fixture.vocab_size + id]));
    }
  }
  return worst;
}

// Every way gives the same bits, so that one comparison with PyTorch stands for all.
std::vector<float> SameLogitsEveryWay(const Fixture& fixture, const LoadOptions& options) {
  std::vector<float> first;
  for (const Way& way : Ways(static_cast<int32_t>(fixture.input_ids.size()))) {
    const absl::StatusOr<std::vector<float>> logits = PromptLogits(options, fixture.input_ids, way);
    CHECK_OK(logits);
    if (first.empty()) first = *logits;
    EXPECT_TRUE(logits->size() == first.size() &&
                std::memcmp(logits->data(), first.data(), first.size() * sizeof(float)) == 0)
        << way.isa << ", chunks of " << way.chunk << ", blocks of " << way.block_size;
  }
  return first;
}

TEST_P(OracleTest, Float32LogitsAreThoseOfPyTorch) {
  const Fixture fixture = ReadFixture(GetParam());
  const double worst =
      WorstDifference(fixture, SameLogitsEveryWay(fixture, Options(fixture, "float32")));
  RecordProperty("worst_share_of_tolerance", std::to_string(worst / fixture.allowed));
  EXPECT_LE(worst, fixture.allowed);
}

// bf16 rounds activations: each keeps 8 bits, and two layers add up to about a percent.
TEST_P(OracleTest, Bfloat16LogitsAreNearThoseOfPyTorch) {
  const Fixture fixture = ReadFixture(GetParam());
  const double worst =
      WorstDifference(fixture, SameLogitsEveryWay(fixture, Options(fixture, "bfloat16")));
  RecordProperty("worst_share_of_largest", std::to_string(worst / fixture.allowed * 1e-4));
  EXPECT_LE(worst, 500 * fixture.allowed);
}

INSTANTIATE_TEST_SUITE_P(Fixtures,
                         OracleTest,
                         ::testing::Values("tied_mha",
                                           "untied_gqa4",
                                           "gqa8_llama3",
                                           "untied_llama3",
                                           "linear",
                                           "linear_type",
                                           "head128",
                                           "bias",
                                           "sharded_gqa4",
                                           "first",
                                           "long"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace pagoda
