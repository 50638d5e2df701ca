#include "client/cli/demo/at_once.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

#include "common/clock.h"
#include "common/mutex.h"
#include "common/status.h"

namespace pagoda {
namespace {

// The blocks of all sequences under way. Any thread.
class BlockCount {
 public:
  explicit BlockCount(uint32_t block_size) : block_size_(block_size) {}

  // A sequence of `before` tokens has `after`.
  void Grow(uint64_t before, uint64_t after) {
    MutexLock lock(&mutex_);
    held_ += Blocks(after) - Blocks(before);
    peak_ = std::max(peak_, held_);
  }

  uint64_t peak() {
    MutexLock lock(&mutex_);
    return peak_;
  }

 private:
  uint64_t Blocks(uint64_t tokens) const { return (tokens + block_size_ - 1) / block_size_; }

  const uint32_t block_size_;
  Mutex mutex_;
  uint64_t held_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t peak_ ABSL_GUARDED_BY(mutex_) = 0;
};

absl::StatusOr<Completion> RunOne(Client* client,
                                  const GenerateRequest& request,
                                  BlockCount* blocks) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Generation> generation, client->Start(request));
  Completion completion;
  completion.choices.resize(1);
  uint64_t length = 0;
  while (const std::optional<Event> event = generation->Next()) {
    uint64_t after = length;
    if (const auto* accepted = std::get_if<Accepted>(&*event)) {
      after += accepted->prompt_tokens;
    } else if (const auto* delta = std::get_if<Delta>(&*event)) {
      completion.choices[0].text += delta->text;
      completion.completion_tokens += delta->num_tokens;
      after += delta->num_tokens;
    }
    blocks->Grow(length, after);
    length = after;
  }
  blocks->Grow(length, 0);
  RETURN_IF_ERROR(generation->status());
  return completion;
}

}  // namespace

absl::StatusOr<Load> Run(Client* client,
                         const std::vector<GenerateRequest>& requests,
                         size_t width,
                         uint32_t block_size) {
  BlockCount blocks(block_size);
  std::vector<absl::StatusOr<Completion>> results(requests.size());
  std::atomic<size_t> next = 0;
  const absl::Time start = RealClock()->Now();
  std::vector<std::thread> threads;
  for (size_t i = 0; i < width; ++i) {
    threads.emplace_back([&] {
      for (size_t mine; (mine = next++) < requests.size();) {
        results[mine] = RunOne(client, requests[mine], &blocks);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  Load load;
  load.time = RealClock()->Now() - start;
  load.peak_blocks = blocks.peak();
  for (absl::StatusOr<Completion>& result : results) {
    RETURN_IF_ERROR(result.status());
    load.tokens += result->completion_tokens;
    load.completions.push_back(*std::move(result));
  }
  return load;
}

}  // namespace pagoda
