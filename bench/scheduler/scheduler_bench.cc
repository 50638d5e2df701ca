// What one step costs the engine thread: Apply(StepDone), Apply(Tick) and PlanEncoder::Encode with
// 1,024 sequences in decode and a pool of 1M blocks, at depth 2. No arguments.
//
// Sequences have prompts of different lengths, so in every step some of them need a block, as in
// service. Medians and 99th percentiles over 10,000 steps; heap allocations of the measured calls,
// the token logs' chunks apart; bytes of the encoded plans.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "bench/scheduler/allocations.h"
#include "common/check.h"
#include "common/hash.h"
#include "coordinator/core/core.h"
#include "coordinator/transport/plan_encoder.h"

namespace pagoda::bench {
namespace {

constexpr uint32_t kSequences = 1024;
constexpr uint32_t kBlocks = 1 << 20;
constexpr uint32_t kSteps = 10000;
constexpr uint32_t kWarmUpSteps = 500;
constexpr uint32_t kDepth = 2;
constexpr core::GroupId kGroup(0);

// What a worker knows of a lane; enough to answer a plan with the right number of tokens and the
// right digest.
struct Lane {
  bool bound = false;
  uint32_t length = 0;   // tokens with KV
  uint32_t history = 0;  // tokens
  std::vector<uint32_t> table;
};

class Worker {
 public:
  Worker() : lanes_(kSequences) {}
  core::StepDone Execute(const core::StepPlan& plan);

 private:
  void Apply(const core::StepPlan& plan, const core::PlanOp& op);
  uint64_t Digest() const;

  std::vector<Lane> lanes_;
};

void Worker::Apply(const core::StepPlan& plan, const core::PlanOp& op) {
  Lane& lane = lanes_.at(static_cast<size_t>(op.lane));
  if (op.kind == core::OpKind::kBind) {
    lane = {.bound = true, .history = plan.binds[op.bind].tokens_count};
  } else {
    CHECK(op.kind == core::OpKind::kAppend) << " nothing ends and nothing is preempted here";
    for (uint32_t i = 0; i < op.b; ++i) lane.table.push_back(op.a + i);
  }
}

uint64_t Worker::Digest() const {
  RunningHash hash;
  for (uint32_t id = 0; id < kSequences; ++id) {
    if (!lanes_[id].bound) continue;
    std::vector<uint32_t> words = {id, static_cast<uint32_t>(lanes_[id].table.size())};
    words.insert(words.end(), lanes_[id].table.begin(), lanes_[id].table.end());
    hash.Add({reinterpret_cast<const char*>(words.data()), words.size() * sizeof(uint32_t)});
  }
  return hash.value();
}

core::StepDone Worker::Execute(const core::StepPlan& plan) {
  for (const core::PlanOp& op : plan.ops) Apply(plan, op);
  core::StepDone done{.group = kGroup, .epoch = plan.epoch, .step = plan.step};
  if (plan.digest) done.table_digest = Digest();
  auto exception = plan.rows.begin();
  for (uint32_t id = 0; id < kSequences; ++id) {
    Lane& lane = lanes_[id];
    if (!lane.bound) continue;
    const bool named = exception != plan.rows.end() && exception->lane == static_cast<int32_t>(id);
    lane.length += named ? (exception++)->tokens : 1;
    if (lane.length < lane.history) continue;
    ++lane.history;
    done.tokens.push_back(100);
  }
  done.busy = absl::Milliseconds(10);
  return done;
}

struct Measured {
  std::vector<double> apply_us;
  std::vector<double> encode_us;
  std::vector<double> total_us;
  std::vector<double> plan_bytes;
  Allocations allocations;
};

// The core and its worker, always kDepth plans apart.
class Bench {
 public:
  Bench();
  // One step: an answer in, a plan out.
  void Step(Measured* measured);
  core::CoreStats stats() const { return core_.stats(); }

 private:
  void Apply(core::Event event);

  core::Core core_{{.depth = kDepth}};
  core::Actions actions_;
  PlanEncoder encoder_;
  Worker worker_;
  std::deque<core::StepDone> answers_;
  absl::Time now_ = absl::UnixEpoch();
};

Bench::Bench() {
  Apply(core::GroupJoined{.group = kGroup,
                          .capacity = {.num_blocks = kBlocks,
                                       .block_size = 16,
                                       .max_lanes = kSequences,
                                       .max_step_tokens = 8192,
                                       .max_model_len = 4 * kSteps}});
  Apply(core::StepDone{.group = kGroup, .epoch = core::Epoch(1)});
  for (uint32_t i = 0; i < kSequences; ++i) {
    core::RequestSpec spec;
    spec.id = core::RequestId(0x9e3779b97f4a7c15ULL * (i + 1));  // as if drawn
    spec.prompt.assign(64 + i * 37 % 101, 7);
    spec.max_tokens = 2 * kSteps;
    spec.stop_token_ids = {1, 2};
    spec.log = std::make_shared<core::TokenLog>(false);
    Apply(core::Submit{std::move(spec)});
  }
  Apply(core::Tick{now_});
}

void Bench::Apply(core::Event event) {
  core_.Apply(std::move(event), &actions_);
  uint64_t journal = 0;
  for (const core::Action& action : actions_) {
    CHECK(!std::holds_alternative<core::Drop>(action) &&
          !std::holds_alternative<core::End>(action));
    if (const auto* append = std::get_if<core::Append>(&action)) journal = append->position;
    const auto* send = std::get_if<core::SendPlan>(&action);
    if (send != nullptr) answers_.push_back(worker_.Execute(*send->plan));
  }
  actions_.clear();
  if (journal > 0) Apply(core::JournalDurable{journal});
}

void Bench::Step(Measured* measured) {
  using Clock = std::chrono::steady_clock;
  const auto us = [](Clock::duration d) { return std::chrono::duration<double, std::micro>(d); };
  now_ += absl::Milliseconds(10);
  CHECK_EQ(answers_.size(), kDepth);
  core::Event answer = std::move(answers_.front());
  answers_.pop_front();

  const Allocations before = CountAllocations();
  const auto start = Clock::now();
  core_.Apply(std::move(answer), &actions_);
  core_.Apply(core::Tick{now_}, &actions_);
  const auto applied = Clock::now();
  const core::SendPlan& send = std::get<core::SendPlan>(actions_.back());
  const core::StepPlan& plan = *send.plan;
  const size_t bytes = encoder_.Encode(plan, send.timeout).size();
  const auto encoded = Clock::now();
  const Allocations after = CountAllocations();

  answers_.push_back(worker_.Execute(plan));
  const size_t emits = actions_.size() - 1;
  actions_.clear();
  if (measured == nullptr) return;
  CHECK_EQ(emits, kSequences);
  measured->apply_us.push_back(us(applied - start).count());
  measured->encode_us.push_back(us(encoded - applied).count());
  measured->total_us.push_back(us(encoded - start).count());
  measured->plan_bytes.push_back(static_cast<double>(bytes));
  measured->allocations.all += after.all - before.all;
  measured->allocations.marked += after.marked - before.marked;
}

void PrintRow(const char* name, std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&values](double share) { return values[share * (values.size() - 1)]; };
  std::printf("%-28s %10.1f %10.1f %10.1f\n", name, at(0.5), at(0.99), values.back());
}

std::string CpuModel() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

int Main() {
  {
    core::TokenLog log(false);
    const uint64_t before = CountAllocations().all;
    while (CountAllocations().all == before) log.Append(0);
    MarkSize(LastSize());
  }
  Bench bench;
  Measured measured;
  for (uint32_t i = 0; i < kWarmUpSteps; ++i) bench.Step(nullptr);
  for (uint32_t i = 0; i < kSteps; ++i) bench.Step(&measured);

  const core::CoreStats stats = bench.stats();
  std::printf("cpu: %s\n", CpuModel().c_str());
  std::printf("%u steps, %u sequences in decode, pool of %u blocks, %u of them in use at the end\n",
              kSteps,
              stats.running,
              stats.total_blocks,
              stats.total_blocks - stats.free_blocks);
  std::printf("%-28s %10s %10s %10s\n", "", "median", "p99", "max");
  PrintRow("Apply, us a step", measured.apply_us);
  PrintRow("Encode, us a step", measured.encode_us);
  PrintRow("together, us a step", measured.total_us);
  PrintRow("plan, bytes", measured.plan_bytes);
  std::printf(
      "allocations: %llu chunks of token logs, %llu others\n",
      static_cast<unsigned long long>(measured.allocations.marked),
      static_cast<unsigned long long>(measured.allocations.all - measured.allocations.marked));
  return 0;
}

}  // namespace
}  // namespace pagoda::bench

int main() { return pagoda::bench::Main(); }
