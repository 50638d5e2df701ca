#include "tests/equality/local_group.h"

#include <bit>
#include <deque>
#include <functional>
#include <thread>
#include <utility>
#include <variant>

#include "common/check.h"
#include "coordinator/transport/plan_encoder.h"
#include "kernels/cpu/cpu_backend.h"

namespace pagoda::testing {
namespace {

constexpr core::GroupId kGroup(0);

class LocalGroup {
 public:
  LocalGroup(const std::string& model, const std::string& dtype, const GroupSettings& settings)
      : settings_(settings),
        // A machine that is busy elsewhere may take its time.
        core_({.depth = settings.depth, .step_timeout = absl::Hours(1), .digest_interval = 5}) {
    for (int rank = 0; rank < settings.ranks; ++rank) {
      RunnerOptions options;
      options.model = model;
      options.dtype = dtype;
      options.load_format = settings.load_format;
      options.device = settings.device != nullptr
                           ? settings.device
                           : cpu::CpuDevice({.threads = settings.threads, .isa = settings.cpu_isa});
      options.shard = {.rank = rank, .size = settings.ranks};
      options.comm_backend = settings.comm_backend;
      auto runner = Runner::Load(options, [](uint64_t, uint64_t) {});
      CHECK_OK(runner.status());
      runners_.push_back(*std::move(runner));
    }
    max_model_len_ = 512;
  }

  GroupRun Run(const std::vector<Prompt>& prompts);

 private:
  void Apply(core::Event event);
  void On(const core::Append& append) { journal_ = append.position; }
  void On(const core::Emit&) {}
  void On(const core::End& end);
  void On(const core::OpenEpoch& open);
  void On(const core::SendPlan& send) {
    plans_.emplace_back(encoder_.Encode(*send.plan, send.timeout));
  }
  void On(const core::Drop& drop) { CHECK(false) << " epoch given up: " << drop.reason; }
  void Join();
  void Submit(size_t index, const Prompt& prompt);
  // Calls `fn` for every rank, a thread each where there are several.
  void OnRanks(const std::function<void(int rank)>& fn);
  void Step();
  core::StepDone ToStepDone(int rank, const v1::StepResult& result) const;
  void Kill();

  const GroupSettings settings_;
  core::Core core_;
  std::vector<std::unique_ptr<Runner>> runners_;  // by rank
  PlanEncoder encoder_;
  uint32_t max_model_len_;
  uint64_t journal_ = 0;
  uint64_t durable_ = 0;
  core::Epoch epoch_;
  uint64_t steps_ = 0;             // of this epoch
  std::deque<std::string> plans_;  // sent, not executed
  std::vector<std::shared_ptr<core::TokenLog>> logs_;
  size_t ended_ = 0;
};

void LocalGroup::Apply(core::Event event) {
  core::Actions actions;
  core_.Apply(std::move(event), &actions);
  for (const core::Action& action : actions) {
    std::visit([this](const auto& a) { On(a); }, action);
  }
  if (journal_ == durable_) return;
  durable_ = journal_;
  Apply(core::JournalDurable{durable_});
}

void LocalGroup::On(const core::End& end) {
  CHECK_OK(end.status);
  ++ended_;
}

void LocalGroup::Join() {
  Apply(core::GroupJoined{.group = kGroup,
                          .ranks = static_cast<uint32_t>(settings_.ranks),
                          .capacity = {.num_blocks = settings_.num_blocks,
                                       .block_size = settings_.block_size,
                                       .max_lanes = settings_.max_lanes,
                                       .max_step_tokens = settings_.max_step_tokens,
                                       .max_model_len = max_model_len_}});
}

void LocalGroup::On(const core::OpenEpoch& open) {
  epoch_ = open.epoch;
  steps_ = 0;
  v1::ConfigureRequest request;
  request.set_protocol_version(1);
  request.set_epoch(open.epoch.value());
  request.set_block_size(open.capacity.block_size);
  request.set_num_blocks(open.capacity.num_blocks);
  request.set_max_lanes(open.capacity.max_lanes);
  request.set_max_step_tokens(open.capacity.max_step_tokens);
  request.set_max_model_len(open.capacity.max_model_len);
  std::vector<std::string> endpoints;
  for (const auto& runner : runners_) {
    auto endpoint = runner->Configure(request);
    CHECK_OK(endpoint.status());
    endpoints.push_back(*std::move(endpoint));
  }
  OnRanks([&](int rank) { CHECK_OK(runners_[rank]->Connect(endpoints)); });
  for (uint32_t rank = 0; rank < runners_.size(); ++rank) {
    Apply(core::StepDone{.group = kGroup, .rank = rank, .epoch = open.epoch});
  }
}

void LocalGroup::OnRanks(const std::function<void(int rank)>& fn) {
  std::vector<std::thread> threads;
  for (int rank = 1; rank < settings_.ranks; ++rank)
    threads.emplace_back([&fn, rank] { fn(rank); });
  fn(0);
  for (std::thread& thread : threads) thread.join();
}

void LocalGroup::Submit(size_t index, const Prompt& prompt) {
  core::RequestSpec spec;
  spec.id = core::RequestId(index + 1);
  spec.prompt = prompt.tokens;
  spec.max_tokens = prompt.max_tokens;
  spec.sampling = prompt.sampling;
  spec.log = std::make_shared<core::TokenLog>(prompt.sampling.logprobs >= 0);
  logs_.push_back(spec.log);
  Apply(core::Submit{std::move(spec)});
}

void LocalGroup::Step() {
  if (settings_.kill_every > 0 && steps_ == settings_.kill_every) {
    Kill();
    return;
  }
  // As far ahead as a worker may be.
  while (!plans_.empty() && runners_[0]->pending() < Runner::kMaxPending) {
    v1::Plan plan;
    CHECK(plan.ParseFromString(plans_.front()));
    plans_.pop_front();
    OnRanks([&](int rank) { CHECK_OK(runners_[rank]->Submit(plan)); });
  }
  std::vector<v1::StepResult> results(runners_.size());
  OnRanks([&](int rank) { CHECK_OK(runners_[rank]->Collect(&results[rank])); });
  ++steps_;
  // In any order.
  for (int rank = settings_.ranks - 1; rank >= 0; --rank) Apply(ToStepDone(rank, results[rank]));
}

core::StepDone LocalGroup::ToStepDone(int rank, const v1::StepResult& result) const {
  CHECK(rank == 0 || result.tokens().empty()) << " rank 0 alone answers tokens";
  core::StepDone done{.group = kGroup,
                      .rank = static_cast<uint32_t>(rank),
                      .epoch = core::Epoch(result.epoch()),
                      .step = core::Step(result.step()),
                      .table_digest = result.table_digest(),
                      .busy = absl::Nanoseconds(result.busy_ns())};
  done.tokens.assign(result.tokens().begin(), result.tokens().end());
  for (const v1::TokenLogprobs& from : result.logprobs()) {
    core::TokenLogprobs& to = done.logprobs.emplace_back();
    to.logprob = from.logprob();
    for (int i = 0; i < from.top_tokens_size(); ++i) {
      to.top.push_back({static_cast<int32_t>(from.top_tokens(i)), from.top_logprobs(i)});
    }
  }
  return done;
}

// Plans under way are lost with their worker.
void LocalGroup::Kill() {
  plans_.clear();
  Apply(core::GroupLost{.group = kGroup, .epoch = epoch_, .reason = "killed"});
  Join();
}

GroupRun LocalGroup::Run(const std::vector<Prompt>& prompts) {
  Join();
  size_t submitted = 0;
  while (ended_ < prompts.size()) {
    while (submitted < prompts.size() && (!settings_.one_at_a_time || submitted == ended_)) {
      Submit(submitted, prompts[submitted]);
      ++submitted;
    }
    Apply(core::Tick{absl::UnixEpoch()});
    if (!plans_.empty() || runners_[0]->pending() > 0) Step();
  }
  GroupRun run;
  run.stats = core_.stats();
  for (const auto& log : logs_) {
    Output& output = run.outputs.emplace_back();
    core::TokenLog::Cursor cursor(log.get());
    while (!cursor.AtEnd()) {
      core::TokenLogprobs logprobs;
      output.tokens.push_back(cursor.Next(&logprobs));
      output.logprob_bits.push_back(std::bit_cast<uint32_t>(logprobs.logprob));
      for (const auto& top : logprobs.top) {
        output.top_tokens.push_back(top.token);
        output.logprob_bits.push_back(std::bit_cast<uint32_t>(top.logprob));
      }
    }
  }
  return run;
}

}  // namespace

GroupRun RunGroup(const std::string& model,
                  const std::string& dtype,
                  const GroupSettings& settings,
                  const std::vector<Prompt>& prompts) {
  return LocalGroup(model, dtype, settings).Run(prompts);
}

}  // namespace pagoda::testing
