#include "coordinator/engine/output_stage.h"

#include "common/check.h"

namespace pagoda {
namespace {

// Turns of the engine that a text thread may lag behind. A text thread never waits for a client, so
// it only lags when the machine is short of CPU; the engine then waits for it rather than grow
// without bound.
constexpr size_t kMaxTurnsBehind = 1024;

}  // namespace

OutputStage::OutputStage(int threads) {
  CHECK_GE(threads, 1);
  for (int i = 0; i < threads; ++i) {
    threads_.push_back(std::make_unique<TextThread>(kMaxTurnsBehind));
    TextThread* thread = threads_.back().get();
    thread->thread = std::thread([this, thread] { Run(thread); });
  }
}

OutputStage::~OutputStage() {
  for (auto& thread : threads_) thread->queue.Close();
  for (auto& thread : threads_) thread->thread.join();
}

void OutputStage::Add(std::shared_ptr<RequestOutput> output) {
  MutexLock lock(&mutex_);
  const core::RequestId id = output->id();
  CHECK(outputs_.emplace(id, std::move(output)).second);
}

std::shared_ptr<RequestOutput> OutputStage::Find(core::RequestId id, bool remove) {
  MutexLock lock(&mutex_);
  const auto it = outputs_.find(id);
  CHECK(it != outputs_.end()) << " no output for request " << id;
  std::shared_ptr<RequestOutput> output = it->second;
  if (remove) outputs_.erase(it);
  return output;
}

void OutputStage::Published(const core::Emit& emit) {
  ThreadOf(emit.id).pending.push_back({Find(emit.id, false), emit.published, nullptr});
}

void OutputStage::Ended(const core::End& end) {
  ThreadOf(end.id).pending.push_back({Find(end.id, true), 0, std::make_unique<core::End>(end)});
}

void OutputStage::Flush() {
  for (auto& thread : threads_) {
    if (thread->pending.empty()) continue;
    thread->queue.Push(std::move(thread->pending));
    thread->pending.clear();
  }
}

void OutputStage::Run(TextThread* thread) {
  std::vector<std::vector<News>> turns;
  while (thread->queue.PopAll(&turns, absl::InfiniteFuture())) {
    for (std::vector<News>& turn : turns) {
      for (News& news : turn) {
        if (news.end != nullptr) {
          news.output->End(*news.end);
          continue;
        }
        const std::optional<uint32_t> stop = news.output->Advance(news.published);
        if (stop.has_value()) sink_(core::StopAt{.id = news.output->id(), .tokens = *stop});
      }
    }
    turns.clear();
  }
}

}  // namespace pagoda
