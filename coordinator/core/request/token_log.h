// The generated tokens of one sequence: append-only, with a published length.
//
// One writer (the engine thread) appends and publishes; any number of readers follow with a Cursor
// and see only published tokens. A slow reader is a cursor that lags: it costs the writer nothing.
// Chunks never move, so a reader needs no lock. Logs are shared between the core and its readers
// because a reader may outlive the request it reads.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "common/check.h"

namespace pagoda::core {

// The drawn token's place in the model's own distribution (natural logarithms).
struct TokenLogprobs {
  struct Candidate {
    int32_t token = 0;
    float logprob = 0;
  };
  float logprob = 0;
  uint32_t rank = 0;           // of the drawn token, from 1
  std::vector<Candidate> top;  // most likely first
};

class TokenLog {
 private:
  static constexpr uint32_t kChunkTokens = 64;
  struct Chunk {
    int32_t tokens[kChunkTokens];
    std::unique_ptr<TokenLogprobs[]> logprobs;  // [kChunkTokens], when the request asked for them
    std::unique_ptr<Chunk> next;
  };

 public:
  explicit TokenLog(bool with_logprobs);
  ~TokenLog();
  TokenLog(const TokenLog&) = delete;
  TokenLog& operator=(const TokenLog&) = delete;

  // Writer only. Takes what `logprobs` has, when it is given and the log keeps them.
  void Append(int32_t token, TokenLogprobs* logprobs = nullptr) {
    const uint32_t offset = size_ % kChunkTokens;
    if (offset == 0 && size_ > 0) AddChunk();
    tail_->tokens[offset] = token;
    if (with_logprobs_ && logprobs != nullptr) tail_->logprobs[offset] = std::move(*logprobs);
    ++size_;
  }
  // Writer only. Makes the first `length` tokens readable. REQUIRES: published() <= length <=
  // size().
  void Publish(uint32_t length) {
    CHECK_LE(length, size_);
    CHECK_LE(published_.load(std::memory_order_relaxed), length);
    published_.store(length, std::memory_order_release);
  }
  // Writer only.
  uint32_t size() const { return size_; }
  // Writer only. Appends all tokens to `out`.
  void CopyTo(std::vector<int32_t>* out) const;

  bool with_logprobs() const { return with_logprobs_; }
  // Any thread.
  uint32_t published() const { return published_.load(std::memory_order_acquire); }

  // A reader's place. Cheap to copy; the log must outlive it.
  class Cursor {
   public:
    explicit Cursor(const TokenLog* log) : log_(log), chunk_(&log->head_) {}

    uint32_t position() const { return position_; }
    bool AtEnd() const { return position_ == log_->published(); }
    // REQUIRES: !AtEnd(). Reads the next token and, if the log has them, its logprobs.
    int32_t Next(TokenLogprobs* logprobs = nullptr);

   private:
    const TokenLog* log_;
    const Chunk* chunk_;
    uint32_t position_ = 0;
  };

 private:
  void AddChunk();

  const bool with_logprobs_;
  uint32_t size_ = 0;
  std::atomic<uint32_t> published_{0};
  Chunk* tail_;
  Chunk head_;
};

}  // namespace pagoda::core
