#include "coordinator/core/kv/block_manager.h"

#include <algorithm>

namespace pagoda::core {

std::ostream& operator<<(std::ostream& os, const BlockChange& change) {
  switch (change.kind) {
    case BlockChange::Kind::kCopy:
      return os << "copy " << change.source << " to " << change.block;
    case BlockChange::Kind::kSet:
      return os << "set [" << change.index << "] = " << change.block;
    case BlockChange::Kind::kAppend:
      return os << "append " << change.block << " x " << change.count;
  }
  return os;
}

BlockManager::BlockManager(int32_t num_blocks, int32_t block_size)
    : pool_(num_blocks), block_size_(block_size) {
  CHECK_GE(block_size, 1);
}

int64_t BlockManager::BlocksFor(int64_t tokens) const {
  CHECK_GE(tokens, 0);
  return tokens / block_size_ + (tokens % block_size_ != 0);
}

BlockTable BlockManager::MakeTable(int64_t max_tokens) const {
  BlockTable table;
  table.blocks_.reserve(BlocksFor(std::min(max_tokens, MaxTokens())));
  return table;
}

int64_t BlockManager::FreshBlocks(const BlockTable& table, int64_t tokens) const {
  return BlocksFor(tokens) - static_cast<int64_t>(table.blocks_.size());
}

bool BlockManager::CopiesFirst(const BlockTable& table, int64_t tokens, int32_t gone) const {
  const bool writes_last_block = tokens > table.tokens_ && table.tokens_ % block_size_ != 0;
  return writes_last_block && pool_.references(table.blocks_.back()) - gone > 1;
}

int64_t BlockManager::BlocksNeeded(std::span<const Growth> growths) const {
  int64_t needed = 0;
  for (size_t i = 0; i < growths.size(); ++i) {
    const auto& [table, tokens] = growths[i];
    if (FitsAsIs(*table, tokens)) continue;
    needed += FreshBlocks(*table, tokens);
    if (!CopiesFirst(*table, tokens, 0)) continue;
    const auto leaves_same_block = [&, table = table](const Growth& earlier) {
      return CopiesFirst(*earlier.table, earlier.tokens, 0) &&
             earlier.table->blocks_.back() == table->blocks_.back();
    };
    const auto gone = std::ranges::count_if(growths.first(i), leaves_same_block);
    needed += CopiesFirst(*table, tokens, static_cast<int32_t>(gone));
  }
  return needed;
}

void BlockManager::GrowByBlocks(BlockTable* table,
                                int64_t tokens,
                                StepFence step,
                                std::vector<BlockChange>* changes) {
  CHECK(CanGrow(*table, tokens)) << " " << BlocksNeeded(*table, tokens) << " blocks needed, "
                                 << pool_.num_free() << " free";
  if (CopiesFirst(*table, tokens, 0)) CopyLastBlock(table, step, changes);
  const int64_t fresh = FreshBlocks(*table, tokens);
  for (int64_t i = 0; i < fresh; ++i) {
    // Neighbours where possible: ids travel as runs, and the device reads ahead.
    const int32_t wanted = table->blocks_.empty() ? 0 : table->blocks_.back().id + 1;
    const BlockRef block = pool_.Acquire(wanted);
    if (i > 0 && block.id == wanted) {
      ++changes->back().count;
    } else {
      changes->push_back({.kind = BlockChange::Kind::kAppend, .block = block.id, .count = 1});
    }
    table->blocks_.push_back(block);
  }
  table->tokens_ = tokens;
  table->writable_end_ = static_cast<int64_t>(table->blocks_.size()) * block_size_;
}

void BlockManager::CopyLastBlock(BlockTable* table,
                                 StepFence step,
                                 std::vector<BlockChange>* changes) {
  BlockRef& last = table->blocks_.back();
  const BlockRef copy = pool_.Acquire();
  const auto index = static_cast<int32_t>(table->blocks_.size()) - 1;
  changes->push_back({.kind = BlockChange::Kind::kCopy, .block = copy.id, .source = last.id});
  changes->push_back({.kind = BlockChange::Kind::kSet, .block = copy.id, .index = index});
  pool_.Release(last, step);
  last = copy;
}

BlockTable BlockManager::Fork(BlockTable* parent) {
  BlockTable child;
  child.blocks_.reserve(parent->blocks_.capacity());
  child.blocks_ = parent->blocks_;
  for (const BlockRef block : child.blocks_) pool_.Share(block);
  child.tokens_ = parent->tokens_;
  child.writable_end_ = parent->writable_end_ = parent->tokens_;
  return child;
}

void BlockManager::Truncate(BlockTable* table, int64_t tokens, StepFence last_step) {
  CHECK(tokens >= 0 && tokens <= table->tokens_) << " got " << tokens << " of " << table->tokens_;
  const auto keep = static_cast<size_t>(BlocksFor(tokens));
  for (size_t i = keep; i < table->blocks_.size(); ++i) pool_.Release(table->blocks_[i], last_step);
  table->blocks_.resize(keep);
  // What is the last block now may be shared.
  table->tokens_ = table->writable_end_ = tokens;
}

void BlockManager::Free(BlockTable* table, StepFence last_step) { Truncate(table, 0, last_step); }

void BlockManager::CheckWritable(const BlockTable& table, int64_t first, int64_t end) const {
  CHECK(first >= 0 && first <= end && end <= table.tokens_)
      << " [" << first << ", " << end << ") of " << table.tokens_ << " tokens";
  if (first == end) return;
  for (int64_t i = first / block_size_; i <= (end - 1) / block_size_; ++i) {
    const BlockRef block = table.blocks_[i];
    CHECK_EQ(pool_.references(block), 1) << " a row would write shared " << block;
  }
}

void BlockManager::CheckInvariants(const std::vector<const BlockTable*>& all_tables) const {
  std::vector<int32_t> references(pool_.num_blocks() + 1);
  std::vector<size_t> index_of(references.size());
  for (const BlockTable* table : all_tables) {
    const int64_t capacity = static_cast<int64_t>(table->blocks_.size()) * block_size_;
    CHECK_EQ(table->blocks_.size(), BlocksFor(table->tokens_));
    for (size_t i = 0; i < table->blocks_.size(); ++i) {
      const BlockRef block = table->blocks_[i];
      CHECK_GE(pool_.references(block), 1);
      if (references[block.id]++ == 0) index_of[block.id] = i;
      CHECK_EQ(index_of[block.id], i) << " two places for " << block;
    }
    if (table->writable_end_ == table->tokens_) continue;
    CHECK_EQ(table->writable_end_, capacity);
    CHECK_EQ(pool_.references(table->blocks_.back()), 1) << " shared, but taken for writable";
  }
  pool_.CheckInvariants(references);
}

}  // namespace pagoda::core
