#include "coordinator/core/request/token_log.h"

#include <utility>

namespace pagoda::core {

TokenLog::TokenLog(bool with_logprobs) : with_logprobs_(with_logprobs), tail_(&head_) {
  if (with_logprobs_) head_.logprobs = std::make_unique<TokenLogprobs[]>(kChunkTokens);
}

TokenLog::~TokenLog() {
  // Unlinks one by one: the recursion of a long chain of owners could exhaust the stack.
  std::unique_ptr<Chunk> chunk = std::move(head_.next);
  while (chunk) chunk = std::move(chunk->next);
}

void TokenLog::AddChunk() {
  tail_->next = std::make_unique<Chunk>();
  tail_ = tail_->next.get();
  if (with_logprobs_) tail_->logprobs = std::make_unique<TokenLogprobs[]>(kChunkTokens);
}

void TokenLog::CopyTo(std::vector<int32_t>* out) const {
  const Chunk* chunk = &head_;
  for (uint32_t begin = 0; begin < size_; begin += kChunkTokens) {
    const uint32_t count = size_ - begin < kChunkTokens ? size_ - begin : kChunkTokens;
    out->insert(out->end(), chunk->tokens, chunk->tokens + count);
    chunk = chunk->next.get();
  }
}

int32_t TokenLog::Cursor::Next(TokenLogprobs* logprobs) {
  CHECK_LT(position_, log_->published());
  const uint32_t offset = position_ % kChunkTokens;
  if (offset == 0 && position_ > 0) chunk_ = chunk_->next.get();
  ++position_;
  if (logprobs != nullptr && log_->with_logprobs_) *logprobs = chunk_->logprobs[offset];
  return chunk_->tokens[offset];
}

}  // namespace pagoda::core
