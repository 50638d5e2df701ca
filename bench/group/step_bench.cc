// Steps of a model on one rank and on two, beside each other.
//   step_bench [model] [auto|dummy] [lanes] [rounds]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/check.h"
#include "common/limits.h"
#include "kernels/cpu/cpu_backend.h"
#include "worker/runner/runner.h"

namespace pagoda {
namespace {

constexpr uint32_t kBlockSize = 16;
constexpr uint32_t kPrompt = 64;  // tokens of a lane before it decodes
constexpr int kSteps = 16;        // decode steps of a round

// The ranks of one model, as threads of this process.
class Group {
 public:
  Group(const std::string& model, const std::string& load_format, int ranks, uint32_t lanes)
      : lanes_(lanes), runners_(ranks) {
    OnRanks([&](int rank) {
      RunnerOptions options;
      options.model = model;
      options.load_format = load_format;
      options.device = cpu::CpuDevice({.threads = std::max(1, CpuLimit() / ranks)});
      options.shard = {.rank = rank, .size = ranks};
      auto runner = Runner::Load(options, [](uint64_t, uint64_t) {});
      CHECK_OK(runner.status());
      runners_[rank] = *std::move(runner);
    });
  }

  int ranks() const { return static_cast<int>(runners_.size()); }

  // Opens an epoch and runs a round; milliseconds of the prefill step and of each decode step.
  void Round(std::vector<double>* prefill, std::vector<double>* decode) {
    Open();
    prefill->push_back(Step(FirstPlan()));
    for (int i = 0; i < kSteps; ++i) {
      v1::Plan plan;
      plan.set_epoch(epoch_);
      plan.set_step(2 + i);
      decode->push_back(Step(plan));
    }
  }

 private:
  void OnRanks(const std::function<void(int rank)>& fn) {
    std::vector<std::thread> threads;
    threads.reserve(ranks());
    for (int rank = 1; rank < ranks(); ++rank) threads.emplace_back([&fn, rank] { fn(rank); });
    fn(0);
    for (std::thread& thread : threads) thread.join();
  }

  static uint32_t BlocksOfLane() { return (kPrompt + kSteps) / kBlockSize + 1; }

  void Open() {
    v1::ConfigureRequest config;
    config.set_epoch(++epoch_);
    config.set_block_size(kBlockSize);
    config.set_num_blocks(lanes_ * BlocksOfLane());
    config.set_max_lanes(lanes_);
    config.set_max_step_tokens(lanes_ * kPrompt);
    config.set_max_model_len(kPrompt + kSteps + 1);
    std::vector<std::string> endpoints(runners_.size());
    OnRanks([&](int rank) {
      auto endpoint = runners_[rank]->Configure(config);
      CHECK_OK(endpoint.status());
      endpoints[rank] = *std::move(endpoint);
    });
    OnRanks([&](int rank) { CHECK_OK(runners_[rank]->Connect(endpoints)); });
  }

  // Binds every lane and prefills it whole.
  v1::Plan FirstPlan() const {
    v1::Plan plan;
    plan.set_epoch(epoch_);
    plan.set_step(1);
    plan.set_snapshot(true);
    for (uint32_t lane = 0; lane < lanes_; ++lane) {
      v1::Bind* const bind = plan.add_ops()->mutable_bind();
      bind->set_lane(lane);
      for (uint32_t i = 0; i < kPrompt; ++i) bind->add_tokens(1 + (lane * 31 + i * 7) % 200);
      bind->set_prompt_tokens(kPrompt);
      bind->mutable_sampling()->set_logprobs(-1);
      v1::Append* const append = plan.add_ops()->mutable_append();
      append->set_lane(lane);
      append->set_first(1 + lane * BlocksOfLane());
      append->set_count(BlocksOfLane());
      v1::RowException* const row = plan.add_rows();
      row->set_lane(lane);
      row->set_chunk(kPrompt);
    }
    return plan;
  }

  double Step(const v1::Plan& plan) {
    std::vector<v1::StepResult> results(runners_.size());
    OnRanks([&](int rank) { CHECK_OK(runners_[rank]->Step(plan, &results[rank])); });
    return static_cast<double>(results[0].busy_ns()) / 1e6;
  }

  const uint32_t lanes_;
  std::vector<std::unique_ptr<Runner>> runners_;
  uint64_t epoch_ = 0;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

int Main(int argc, char** argv) {
  const std::string model = argc > 1 ? argv[1] : "models/demo";
  const std::string load_format = argc > 2 ? argv[2] : "auto";
  const uint32_t lanes = argc > 3 ? static_cast<uint32_t>(std::atoi(argv[3])) : 8;
  const int rounds = argc > 4 ? std::max(1, std::atoi(argv[4])) : 5;
  std::vector<std::unique_ptr<Group>> groups;
  for (const int ranks : {1, 2}) {
    groups.push_back(std::make_unique<Group>(model, load_format, ranks, lanes));
  }
  std::vector<double> prefill[2], decode[2];
  for (int round = 0; round < rounds; ++round) {
    for (int i = 0; i < 2; ++i) groups[i]->Round(&prefill[i], &decode[i]);
  }
  std::printf("%s, %u lanes, prompts of %u tokens, %d CPUs\n",
              model.c_str(),
              lanes,
              kPrompt,
              CpuLimit());
  for (int i = 0; i < 2; ++i) {
    std::printf("%d rank%s  prefill step %9.2f ms   decode step %8.3f ms\n",
                groups[i]->ranks(),
                i == 0 ? " " : "s",
                Median(prefill[i]),
                Median(decode[i]));
  }
  std::printf("two ranks take %.2fx of one's prefill step, %.2fx of its decode step\n",
              Median(prefill[1]) / Median(prefill[0]),
              Median(decode[1]) / Median(decode[0]));
  return 0;
}

}  // namespace
}  // namespace pagoda

int main(int argc, char** argv) { return pagoda::Main(argc, argv); }
