#include "coordinator/engine/engine.h"

#include <utility>
#include <variant>

#include "common/check.h"

namespace pagoda {
namespace {

constexpr size_t kMaxQueuedEvents = 65536;

template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

}  // namespace

Engine::Engine(const core::CoreOptions& options, const Clock* clock, OutputSink* outputs)
    : clock_(clock), outputs_(outputs), events_(kMaxQueuedEvents), core_(options) {}

Engine::~Engine() {
  events_.Close();
  if (thread_.joinable()) thread_.join();
  links_.clear();  // they may still post, which needs this object whole
}

void Engine::AddGroup(core::GroupId group, std::unique_ptr<GroupLink> link) {
  CHECK(!thread_.joinable()) << " groups are added before Start";
  CHECK(links_.emplace(group, std::move(link)).second);
}

void Engine::SetReadyCallback(std::function<void(bool ready)> callback) {
  CHECK(!thread_.joinable()) << " the callback is set before Start";
  ready_changed_ = std::move(callback);
}

void Engine::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Engine::Post(core::Event event) {
  {
    MutexLock lock(&mutex_);
    ++posted_;
  }
  events_.Push(std::move(event));
}

void Engine::Run() {
  std::vector<core::Event> batch;
  uint64_t applied = 0;
  while (events_.PopAll(&batch, core_.NextDeadline())) {
    for (core::Event& event : batch) Apply(std::move(event));
    applied += batch.size();
    batch.clear();
    Apply(core::Tick{clock_->Now()});
    outputs_->Flush();
    Publish(applied);
  }
}

void Engine::Apply(core::Event event) {
  core_.Apply(std::move(event), &actions_);
  while (true) {
    for (const core::Action& action : actions_) Perform(action);
    actions_.clear();
    if (journal_durable_ == journal_written_) return;
    // There is no journal yet: a record is as durable as it will be once it is written.
    journal_durable_ = journal_written_;
    core_.Apply(core::JournalDurable{journal_durable_}, &actions_);
  }
}

void Engine::Perform(const core::Action& action) {
  std::visit(Overloaded{
                 [this](const core::SendPlan& send) { links_.at(send.group)->SendPlan(send); },
                 [this](const core::Append& append) { journal_written_ = append.position; },
                 [this](const core::Emit& emit) { outputs_->Published(emit); },
                 [this](const core::End& end) { outputs_->Ended(end); },
                 [this](const core::OpenEpoch& open) { links_.at(open.group)->OpenEpoch(open); },
                 [this](const core::Drop& drop) { links_.at(drop.group)->Drop(drop); },
             },
             action);
}

void Engine::Publish(uint64_t applied) {
  const bool idle = core_.idle();
  const core::CoreStats stats = core_.stats();
  {
    MutexLock lock(&mutex_);
    snapshot_ = {.stats = stats, .at = clock_->Now()};
    core_idle_ = idle;
    applied_ = applied;
    idle_.SignalAll();
  }
  const bool ready = stats.ready && !stats.draining;
  if (ready == was_ready_) return;
  was_ready_ = ready;
  if (ready_changed_) ready_changed_(ready);
}

Engine::Snapshot Engine::snapshot() const {
  MutexLock lock(&mutex_);
  return snapshot_;
}

bool Engine::WaitIdle(absl::Time deadline) {
  MutexLock lock(&mutex_);
  while (!core_idle_ || applied_ != posted_) {
    if (!idle_.WaitUntil(&mutex_, deadline)) return core_idle_ && applied_ == posted_;
  }
  return true;
}

}  // namespace pagoda
