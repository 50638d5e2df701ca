// Gives the blocks of one KV group to sequences: grow, fork, copy on write, truncate, free. A model
// with several KV groups has one manager per KV group, and each sequence one table per KV group.
//
// Ask first, then do: the questions (BlocksNeeded, CanGrow) change nothing, and a deed that was
// asked for cannot fail. A block that more than one table refers to is never written: the table
// that is about to write gets a copy of its own first.
//
// What growing did to a table comes back as BlockChanges, which make up the ops of a plan; they and
// fork, truncate and unbind are all that the worker's mirror of the table needs. The ops of a plan
// run in order and before its rows, so a copy reads what all earlier plans wrote, and a block may
// be given out again as soon as it is released.
//
// Pure and deterministic; one thread at a time. A table belongs to the manager that made it.
#pragma once

#include <cstdint>
#include <ostream>
#include <span>
#include <vector>

#include "common/check.h"
#include "coordinator/core/kv/block_pool.h"
#include "coordinator/core/kv/block_table.h"

namespace pagoda::core {

// One change, in the order in which it has to be carried out.
struct BlockChange {
  enum class Kind : uint8_t {
    kCopy,    // all bytes of block `source` go to `block`
    kSet,     // entry `index` of the table becomes `block`
    kAppend,  // `count` consecutive ids from `block` join the end of the table
  };
  Kind kind = Kind::kAppend;
  int32_t block = 0;
  int32_t source = 0;  // of kCopy
  int32_t index = 0;   // of kSet
  int32_t count = 0;   // of kAppend

  friend bool operator==(const BlockChange&, const BlockChange&) = default;
  friend std::ostream& operator<<(std::ostream& os, const BlockChange& change);
};

// A wish: `table` shall hold `tokens` tokens.
struct Growth {
  const BlockTable* table = nullptr;
  int64_t tokens = 0;
};

class BlockManager {
 public:
  // REQUIRES: num_blocks >= 1 (block 0 not counted), block_size >= 1 tokens.
  BlockManager(int32_t num_blocks, int32_t block_size);

  const BlockPool& pool() const { return pool_; }
  int32_t block_size() const { return block_size_; }
  // The longest sequence that the pool can ever hold, alone.
  int64_t MaxTokens() const { return int64_t{pool_.num_blocks()} * block_size_; }
  // Blocks that `tokens` tokens fill. REQUIRES: tokens >= 0.
  int64_t BlocksFor(int64_t tokens) const;

  // An empty table that grows to `max_tokens` tokens without allocating memory again.
  BlockTable MakeTable(int64_t max_tokens) const;

  // Exactly the free blocks that Grow would take, copies on write included.
  // REQUIRES: tokens >= table.tokens().
  int64_t BlocksNeeded(const BlockTable& table, int64_t tokens) const {
    return FitsAsIs(table, tokens) ? 0 : FreshBlocks(table, tokens) + CopiesFirst(table, tokens, 0);
  }
  // The same for growing several tables, one after the other in any order: the last of those that
  // share a block writes it in place. REQUIRES: the tables are distinct.
  int64_t BlocksNeeded(std::span<const Growth> growths) const;
  bool CanGrow(const BlockTable& table, int64_t tokens) const {
    return BlocksNeeded(table, tokens) <= pool_.num_free();
  }
  bool CanGrow(std::span<const Growth> growths) const {
    return BlocksNeeded(growths) <= pool_.num_free();
  }

  // Makes room for tokens [table->tokens(), tokens), in blocks that are the table's alone, to be
  // written by step `step` or later. Adds to `changes` what happened: at most one kCopy + kSet,
  // then kAppend runs. REQUIRES: tokens >= table->tokens(),
  // CanGrow(*table, tokens).
  void Grow(BlockTable* table, int64_t tokens, StepFence step, std::vector<BlockChange>* changes) {
    if (!GrowInPlace(table, tokens)) GrowByBlocks(table, tokens, step, changes);
  }

  // Grow when it takes no block and no copy; else answers false and does nothing. What most decodes
  // need. REQUIRES: tokens >= table->tokens().
  static bool GrowInPlace(BlockTable* table, int64_t tokens) {
    if (!FitsAsIs(*table, tokens)) return false;
    table->tokens_ = tokens;
    return true;
  }

  // A second table over the same blocks. Takes no block; whichever table is the first to write into
  // a shared last block pays for the copy.
  BlockTable Fork(BlockTable* parent);

  // Keeps the first `tokens` tokens and the blocks that they need. `last_step` is the last step
  // sent that can touch the others. REQUIRES: 0 <= tokens <= table->tokens().
  void Truncate(BlockTable* table, int64_t tokens, StepFence last_step);

  // Hands everything back; the table is empty and keeps its storage. `last_step` as above.
  void Free(BlockTable* table, StepFence last_step);

  // CHECKs that tokens [first, end) have their place in blocks that no other table refers to: what
  // must hold when a row writes them.
  void CheckWritable(const BlockTable& table, int64_t first, int64_t end) const;

  // Full audit, O(pool + entries): references are exactly the entries of `all_tables`, nothing in a
  // table is free or stale, a shared block stands at one index, and the pool's own invariants hold.
  void CheckInvariants(const std::vector<const BlockTable*>& all_tables) const;

 private:
  static bool FitsAsIs(const BlockTable& table, int64_t tokens) {
    CHECK_GE(tokens, table.tokens_) << " growing does not shorten a table";
    return tokens <= table.writable_end_;
  }
  int64_t FreshBlocks(const BlockTable& table, int64_t tokens) const;
  // Whether growing has to copy the last block first, when `gone` tables will have left it by then.
  bool CopiesFirst(const BlockTable& table, int64_t tokens, int32_t gone) const;
  void GrowByBlocks(BlockTable* table,
                    int64_t tokens,
                    StepFence step,
                    std::vector<BlockChange>* changes);
  void CopyLastBlock(BlockTable* table, StepFence step, std::vector<BlockChange>* changes);

  BlockPool pool_;
  const int32_t block_size_;  // tokens
};

}  // namespace pagoda::core
