// Where the KV of one sequence lives, for one KV group: token t is in blocks()[t / block_size].
//
// A table holds one reference to each of its blocks, so it moves and is never copied, and must be
// handed back with BlockManager::Free before it ends. Only its BlockManager changes it. Always
// blocks().size() == ceil(tokens() / block_size).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "coordinator/core/kv/block_pool.h"

namespace pagoda::core {

class BlockTable {
 public:
  // Empty and without storage; BlockManager::MakeTable reserves it.
  BlockTable() = default;
  // The moved-from table is empty.
  BlockTable(BlockTable&& other) noexcept;
  // REQUIRES: this table is empty.
  BlockTable& operator=(BlockTable&& other) noexcept;
  // CHECKs that the table was handed back.
  ~BlockTable();

  // Tokens that have a place; the sequence's planned length.
  int64_t tokens() const { return tokens_; }
  std::span<const BlockRef> blocks() const { return blocks_; }
  bool empty() const { return blocks_.empty(); }

 private:
  friend class BlockManager;

  std::vector<BlockRef> blocks_;
  int64_t tokens_ = 0;
  // Growing up to here needs no look at the pool: either the end of the last block, known to be
  // this table's alone, or tokens_.
  int64_t writable_end_ = 0;
};

}  // namespace pagoda::core
