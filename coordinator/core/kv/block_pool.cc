#include "coordinator/core/kv/block_pool.h"

#include <algorithm>
#include <limits>

#include "common/check.h"

namespace pagoda::core {

BlockPool::BlockPool(int32_t num_blocks) : num_free_(num_blocks) {
  CHECK_GE(num_blocks, 1);
  CHECK_LT(num_blocks, std::numeric_limits<int32_t>::max());
  blocks_.resize(static_cast<size_t>(num_blocks) + 1);
  for (int32_t id = 0; id <= num_blocks; ++id) {
    blocks_[id].previous = id == 0 ? num_blocks : id - 1;
    blocks_[id].next = id == num_blocks ? 0 : id + 1;
  }
}

BlockPool::~BlockPool() { CHECK_EQ(num_held(), 0) << " blocks of the pool never came back"; }

BlockRef BlockPool::Acquire(int32_t preferred) {
  CHECK_GE(num_free_, 1) << " the pool has no free block";
  const int32_t id = IsFree(preferred) ? preferred : blocks_[0].next;
  Block& block = blocks_[id];
  blocks_[block.previous].next = block.next;
  blocks_[block.next].previous = block.previous;
  block.references = 1;
  --num_free_;
  return {id, block.generation};
}

void BlockPool::Share(BlockRef ref) {
  CheckLive(ref);
  Block& block = blocks_[ref.id];
  CHECK_LT(block.references, std::numeric_limits<int32_t>::max());
  ++block.references;
}

void BlockPool::Release(BlockRef ref, StepFence last_step) {
  CheckLive(ref);
  Block& block = blocks_[ref.id];
  block.released_at = std::max(block.released_at, last_step);
  if (--block.references > 0) return;
  ++block.generation;
  block.previous = blocks_[0].previous;
  block.next = 0;
  blocks_[block.previous].next = ref.id;
  blocks_[0].previous = ref.id;
  ++num_free_;
}

StepFence BlockPool::ReleasedAt(int32_t id) const {
  CHECK(id >= 1 && id <= num_blocks()) << " got " << id << ", blocks are 1 to " << num_blocks();
  return blocks_[id].released_at;
}

void BlockPool::CheckLive(BlockRef ref) const {
  CHECK(ref.id >= 1 && ref.id <= num_blocks())
      << " got " << ref.id << ", blocks are 1 to " << num_blocks();
  const Block& block = blocks_[ref.id];
  CHECK(block.generation == ref.generation && block.references > 0)
      << " stale handle: " << ref << ", the block has generation " << block.generation << " and "
      << block.references << " references";
}

void BlockPool::CheckInvariants(std::span<const int32_t> references) const {
  CHECK_EQ(references.size(), blocks_.size());
  CHECK_EQ(references[0], 0) << " block 0 is reserved";
  int32_t free = 0;
  for (int32_t id = 0; id <= num_blocks(); ++id) {
    CHECK_EQ(blocks_[id].references, references[id]) << " references of block " << id;
    free += id != 0 && references[id] == 0;
  }
  CHECK_EQ(free, num_free_) << " blocks without a reference";
  int32_t listed = 0;
  int32_t previous = 0;
  for (int32_t id = blocks_[0].next; id != 0; id = blocks_[id].next) {
    CHECK_EQ(blocks_[id].references, 0) << " block " << id << " is held and in the free list";
    CHECK_EQ(blocks_[id].previous, previous) << " free list broken at block " << id;
    CHECK_LE(++listed, free) << " free list has a cycle";
    previous = id;
  }
  CHECK_EQ(blocks_[0].previous, previous) << " end of the free list";
  CHECK_EQ(listed, free) << " blocks in the free list";
}

}  // namespace pagoda::core
