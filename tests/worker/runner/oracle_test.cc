// The runner alone, driven by plans, against the greedy tokens that PyTorch computed for the demo
// model (tests/golden/oracle/README.md).
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <vector>

#include "kernels/cpu/cpu_backend.h"
#include "nlohmann/json.hpp"
#include "tests/testing/open_epoch.h"
#include "tests/testing/plan_driver.h"
#include "worker/runner/runner.h"

namespace pagoda {
namespace {

using testing::Greedy;
using testing::PlanDriver;

struct Case {
  std::vector<uint32_t> prompt;
  std::vector<uint32_t> expected;  // up to the first gap
};

std::vector<Case> ReadCases() {
  std::ifstream file("tests/golden/oracle/demo_greedy.json");
  const nlohmann::json json = nlohmann::json::parse(file);
  std::vector<Case> cases;
  for (const nlohmann::json& from : json.at("cases")) {
    Case& to = cases.emplace_back();
    to.prompt = from.at("prompt_ids").get<std::vector<uint32_t>>();
    to.expected = from.at("output_ids").get<std::vector<uint32_t>>();
    to.expected.resize(from.at("first_gap").get<size_t>());
  }
  return cases;
}

TEST(RunnerOracleTest, GreedyTokensOfTheDemoModelAreThoseOfPyTorch) {
  const std::vector<Case> cases = ReadCases();
  ASSERT_GE(cases.size(), 40u);
  auto runner =
      Runner::Load({.model = "models/demo", .dtype = "float32", .device = cpu::CpuDevice({})},
                   [](auto...) {});
  ASSERT_TRUE(runner.ok()) << runner.status();
  v1::ConfigureRequest config;
  config.set_epoch(1);
  config.set_block_size(16);
  config.set_num_blocks(700);
  config.set_max_lanes(48);  // fewer than the cases, so lanes are used again
  config.set_max_step_tokens(256);
  config.set_max_model_len(1024);
  ASSERT_TRUE(testing::OpenEpoch(**runner, config).ok());

  PlanDriver driver(config, 100);
  for (const Case& c : cases) {
    driver.Add(c.prompt, Greedy(), std::max<uint32_t>(1, c.expected.size()));
  }
  const absl::Status status = driver.Run(
      [&](const v1::Plan& plan, v1::StepResult* result) { return (*runner)->Step(plan, result); });
  ASSERT_TRUE(status.ok()) << status;

  size_t compared = 0;
  for (size_t i = 0; i < cases.size(); ++i) {
    std::vector<uint32_t> drawn = driver.sequence(i).drawn;
    drawn.resize(cases[i].expected.size());
    EXPECT_EQ(drawn, cases[i].expected) << "case " << i;
    compared += cases[i].expected.size();
  }
  EXPECT_GE(compared, 4000u);
}

}  // namespace
}  // namespace pagoda
