#include "coordinator/server.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/status.h"
#include "coordinator/api/acceptor.h"
#include "coordinator/api/grpc/inference_server.h"
#include "coordinator/api/work_pool.h"
#include "coordinator/engine/engine.h"
#include "coordinator/engine/output_stage.h"
#include "coordinator/text/tokenizer.h"
#include "coordinator/transport/grpc_group.h"
#include "coordinator/transport/registry_service.h"

namespace pagoda {
namespace {

constexpr core::GroupId kGroup(0);
constexpr absl::Duration kStatusInterval = absl::Seconds(10);
constexpr size_t kMaxWaitingPrompts = 256;

core::CoreOptions ToCoreOptions(const ServerFlags& flags) {
  core::CoreOptions options;
  options.depth = flags.async_scheduling ? 2 : 1;
  options.step_timeout = flags.step_timeout;
  options.max_queued_requests = static_cast<uint32_t>(flags.max_num_queued_reqs);
  return options;
}

PoolFlags ToPoolFlags(const ServerFlags& flags) {
  return {.block_size = static_cast<uint32_t>(flags.block_size),
          .max_model_len = static_cast<uint32_t>(flags.max_model_len),
          .max_num_seqs = static_cast<uint32_t>(flags.max_num_seqs),
          .max_num_batched_tokens = static_cast<uint32_t>(flags.max_num_batched_tokens),
          .num_blocks_override = static_cast<uint32_t>(flags.num_gpu_blocks_override),
          .kv_cache_memory_bytes = flags.kv_cache_memory_bytes};
}

std::string ModelName(const std::string& directory) {
  std::filesystem::path path = std::filesystem::path(directory).lexically_normal();
  if (path.filename().empty()) path = path.parent_path();
  return path.filename().string();
}

ServedModel ToServedModel(const std::string& directory, const GroupModel& loaded) {
  const v1::ModelInfo& info = loaded.info;
  ServedModel model;
  model.name = ModelName(directory);
  model.architecture = info.architecture();
  model.dtype = info.dtype();
  model.fingerprint = loaded.fingerprint;
  model.vocab_size = info.vocab_size();
  model.eos_token_ids.assign(info.eos_token_ids().begin(), info.eos_token_ids().end());
  model.capacity = loaded.capacity;
  const v1::GenerationDefaults& defaults = info.defaults();
  if (defaults.has_temperature()) model.temperature = defaults.temperature();
  if (defaults.has_top_p()) model.top_p = defaults.top_p();
  if (defaults.has_top_k()) model.top_k = defaults.top_k();
  if (defaults.has_min_p()) model.min_p = defaults.min_p();
  return model;
}

class Coordinator {
 public:
  Coordinator(const CoordinatorOptions& options, std::unique_ptr<Tokenizer> tokenizer)
      : options_(options),
        tokenizer_(std::move(tokenizer)),
        acceptor_(tokenizer_.get(), &engine_, &outputs_),
        outputs_(std::clamp(CpuLimit() / 2, 1, 4)),
        engine_(ToCoreOptions(options.flags), RealClock(), &outputs_),
        prompts_(std::clamp(CpuLimit() / 2, 1, 4), kMaxWaitingPrompts),
        registry_([this](const v1::JoinRequest& request) { return group_->Announced(request); }) {
    auto group = MakeGroup();
    group_ = group.get();
    engine_.AddGroup(kGroup, std::move(group));
    outputs_.set_sink([this](core::Event event) { engine_.Post(std::move(event)); });
  }

  // Ends open calls; the engine lives on until they are over.
  ~Coordinator() {
    if (server_ != nullptr) server_->Shutdown();
  }

  absl::Status Serve(const sigset_t& signals);

 private:
  std::unique_ptr<GrpcGroup> MakeGroup();
  void Report(absl::string_view line) const;
  // True when a signal came within `timeout`.
  bool WaitForSignal(const sigset_t& signals, absl::Duration timeout) const;
  absl::Status Hopeless() const;
  void ReadyChanged(bool ready);
  void LogStatus();
  void DrainAndStop(const sigset_t& signals);

  const CoordinatorOptions options_;
  const std::unique_ptr<Tokenizer> tokenizer_;
  mutable Mutex mutex_;
  absl::Status hopeless_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<InferenceServer> server_;  // the engine thread tells it what is ready
  Acceptor acceptor_;                        // the engine's link tells it the model
  OutputStage outputs_;
  Engine engine_;
  WorkPool prompts_;
  GrpcGroup* group_;  // the engine's
  RegistryService registry_;
  bool announced_ = false;  // engine thread
  core::CoreStats last_stats_;
  absl::Time last_status_ = absl::Now();
};

void Coordinator::Report(absl::string_view line) const {
  if (options_.status_fd < 0) return;
  const std::string text = absl::StrCat(line, "\n");
  // A supervisor that is gone kills this process by itself.
  [[maybe_unused]] const ssize_t written = write(options_.status_fd, text.data(), text.size());
}

std::unique_ptr<GrpcGroup> Coordinator::MakeGroup() {
  GrpcGroupOptions group;
  group.group = kGroup;
  group.addresses = options_.workers;
  group.addresses.resize(options_.flags.tensor_parallel_size);  // the rest announce themselves
  group.source = {.model = options_.model,
                  .dtype = options_.flags.dtype,
                  .load_format = options_.flags.load_format};
  group.pool = ToPoolFlags(options_.flags);
  group.patience = options_.flags.step_timeout;
  group.loaded = [this](const GroupModel& model) {
    log::Info("model loaded",
              {{"architecture", model.info.architecture()},
               {"dtype", model.info.dtype()},
               {"ranks", options_.flags.tensor_parallel_size},
               {"weight_bytes_of_a_rank", model.info.weight_bytes()},
               {"kv_blocks", model.capacity.num_blocks},
               {"block_size", model.capacity.block_size},
               {"max_model_len", model.capacity.max_model_len}});
    acceptor_.SetModel(ToServedModel(options_.model, model));
  };
  group.hopeless = [this](absl::Status status) {
    {
      MutexLock lock(&mutex_);
      hopeless_ = std::move(status);
    }
    kill(getpid(), SIGTERM);  // wakes Serve
  };
  group.suspect = [this](uint32_t rank, absl::string_view reason) {
    Report(absl::StrCat("suspect ", rank, " ", reason));
  };
  return std::make_unique<GrpcGroup>(std::move(group),
                                     [this](core::Event event) { engine_.Post(std::move(event)); });
}

absl::Status Coordinator::Hopeless() const {
  MutexLock lock(&mutex_);
  return hopeless_;
}

bool Coordinator::WaitForSignal(const sigset_t& signals, absl::Duration timeout) const {
  const timespec spec = absl::ToTimespec(timeout);
  return sigtimedwait(&signals, nullptr, &spec) > 0;
}

void Coordinator::ReadyChanged(bool ready) {
  server_->SetServing(ready);
  if (!ready || announced_) return;
  announced_ = true;
  log::Info("serving", {{"host", options_.flags.host}, {"grpc_port", server_->port()}});
  Report(absl::StrCat("ready ", server_->port()));
}

void Coordinator::LogStatus() {
  const absl::Time now = absl::Now();
  const Engine::Snapshot snapshot = engine_.snapshot();
  const core::CoreStats& stats = snapshot.stats;
  const uint64_t tokens = stats.generated_tokens - last_stats_.generated_tokens;
  const uint32_t used = stats.total_blocks - stats.free_blocks;
  log::Info(
      "status",
      {{"running", stats.running},
       {"waiting", stats.waiting},
       {"tokens_per_s", static_cast<double>(tokens) / absl::ToDoubleSeconds(now - last_status_)},
       {"kv_used_blocks", used},
       {"kv_total_blocks", stats.total_blocks},
       {"preemptions", stats.preemptions},
       {"epochs", stats.epochs}});
  last_stats_ = stats;
  last_status_ = now;
}

absl::Status Coordinator::Serve(const sigset_t& signals) {
  ASSIGN_OR_RETURN(server_,
                   InferenceServer::Listen(options_.flags.host,
                                           static_cast<uint16_t>(options_.flags.grpc_port),
                                           &acceptor_,
                                           &prompts_,
                                           &registry_));
  log::Info("listening", {{"host", options_.flags.host}, {"grpc_port", server_->port()}});
  engine_.SetReadyCallback([this](bool ready) { ReadyChanged(ready); });
  engine_.Start();
  while (!WaitForSignal(signals, kStatusInterval)) LogStatus();
  RETURN_IF_ERROR(Hopeless());
  DrainAndStop(signals);
  return Hopeless();
}

void Coordinator::DrainAndStop(const sigset_t& signals) {
  log::Info("draining", {{"timeout", options_.flags.drain_timeout}});
  engine_.Post(core::Drain{});
  const absl::Time deadline = absl::Now() + options_.flags.drain_timeout;
  while (true) {
    const absl::Time next_look = std::min(deadline, absl::Now() + absl::Milliseconds(100));
    if (engine_.WaitIdle(next_look) && acceptor_.WaitUntilAllRead(next_look)) return;
    if (absl::Now() < deadline && !WaitForSignal(signals, absl::ZeroDuration())) continue;
    const core::CoreStats stats = engine_.snapshot().stats;
    log::Warning("requests left unfinished",
                 {{"running", stats.running}, {"waiting", stats.waiting}});
    return;
  }
}

}  // namespace

absl::Status RunCoordinator(const CoordinatorOptions& options, const sigset_t& signals) {
  if (options.status_fd >= 0) prctl(PR_SET_PDEATHSIG, SIGKILL);
  ASSIGN_OR_RETURN(
      std::unique_ptr<Tokenizer> tokenizer,
      Tokenizer::Load((std::filesystem::path(options.model) / "tokenizer.json").string()));
  Coordinator coordinator(options, std::move(tokenizer));
  return coordinator.Serve(signals);
}

}  // namespace pagoda
