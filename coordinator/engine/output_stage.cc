#include "coordinator/engine/output_stage.h"

#include <algorithm>
#include <iterator>
#include <optional>

#include "common/check.h"

namespace pagoda {

OutputStage::OutputStage(int threads) {
  CHECK_GE(threads, 1);
  for (int i = 0; i < threads; ++i) {
    threads_.push_back(std::make_unique<TextThread>());
    TextThread* thread = threads_.back().get();
    thread->thread = std::thread([this, thread] { Run(thread); });
  }
}

OutputStage::~OutputStage() {
  for (auto& thread : threads_) {
    MutexLock lock(&thread->mutex);
    thread->stopping = true;
    thread->changed.SignalAll();
  }
  for (auto& thread : threads_) thread->thread.join();
}

void OutputStage::Add(const std::shared_ptr<RequestOutput>& output) {
  MutexLock lock(&mutex_);
  CHECK(outputs_.emplace(output->id(), output).second);
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
    MutexLock lock(&thread->mutex);
    std::move(thread->pending.begin(), thread->pending.end(), std::back_inserter(thread->news));
    thread->pending.clear();
    thread->changed.Signal();
  }
}

void OutputStage::Run(TextThread* thread) {
  std::vector<News> news;
  while (true) {
    {
      MutexLock lock(&thread->mutex);
      while (thread->news.empty() && !thread->stopping) thread->changed.Wait(&thread->mutex);
      if (thread->news.empty()) return;
      news.swap(thread->news);
    }
    for (const News& entry : news) Handle(entry);
    news.clear();
  }
}

void OutputStage::Handle(const News& news) {
  if (news.end != nullptr) {
    news.output->End(*news.end);
    return;
  }
  const std::optional<uint32_t> stop = news.output->Advance(news.published);
  if (stop.has_value()) sink_(core::StopAt{.id = news.output->id(), .tokens = *stop});
}

}  // namespace pagoda
