// The text threads: they follow the token logs of all requests and turn tokens into text, away from
// the engine thread. Each request belongs to one thread; a thread is woken at most once per engine
// turn.
#pragma once

#include <cstdint>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "common/mutex.h"
#include "coordinator/engine/engine.h"
#include "coordinator/engine/request_output.h"
#include "coordinator/transport/group_link.h"

namespace pagoda {

class OutputStage final : public OutputSink {
 public:
  // REQUIRES: threads >= 1.
  explicit OutputStage(int threads);
  // REQUIRES: the engine is gone.
  ~OutputStage() override;

  // Where stop strings are reported; set before the engine starts.
  void set_sink(EventSink sink) { sink_ = std::move(sink); }

  // Any thread, before the request is submitted. The stage shares the output with the client, who
  // may leave first.
  void Add(const std::shared_ptr<RequestOutput>& output);

  void Published(const core::Emit& emit) override;
  void Ended(const core::End& end) override;
  void Flush() override;

 private:
  struct News {
    std::shared_ptr<RequestOutput> output;
    uint32_t published = 0;
    std::unique_ptr<core::End> end;  // null: tokens only
  };
  struct TextThread {
    std::vector<News> pending;  // engine thread, until Flush
    Mutex mutex;
    CondVar changed;
    // At most one entry per token that its requests produced: bounded by what was accepted, so the
    // engine never waits for a text thread.
    std::vector<News> news ABSL_GUARDED_BY(mutex);
    bool stopping ABSL_GUARDED_BY(mutex) = false;
    std::thread thread;
  };

  TextThread& ThreadOf(core::RequestId id) { return *threads_[id.value() % threads_.size()]; }
  std::shared_ptr<RequestOutput> Find(core::RequestId id, bool remove);
  void Run(TextThread* thread);
  void Handle(const News& news);

  EventSink sink_;
  std::vector<std::unique_ptr<TextThread>> threads_;
  Mutex mutex_;
  absl::flat_hash_map<core::RequestId, std::shared_ptr<RequestOutput>> outputs_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace pagoda
