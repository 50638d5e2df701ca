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
#include <vector>

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

  // Writer only.
  void Append(int32_t token, TokenLogprobs logprobs = {});
  // Writer only. Makes the first `length` tokens readable. REQUIRES: published() <= length <=
  // size().
  void Publish(uint32_t length);
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
  const bool with_logprobs_;
  Chunk head_;
  Chunk* tail_;
  uint32_t size_ = 0;
  std::atomic<uint32_t> published_{0};
};

}  // namespace pagoda::core
