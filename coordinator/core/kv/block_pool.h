// The blocks of one KV group on one group of ranks: who is free, who is held and by how many.
//
// Ids are 1..num_blocks; block 0 is reserved and never given out. A block is free (no references)
// or held (references >= 1). Free blocks form one list, oldest release first, threaded through a
// flat array of records: every call but the audit is O(1), and nothing is allocated after
// construction.
//
// A handle is {id, generation}. The generation of a block rises whenever it becomes free, so a
// handle that outlived its block is detected at its next use (CHECK), until 2^32 reuses of the same
// block.
//
// Pure and deterministic; one thread at a time.
#pragma once

#include <cstdint>
#include <ostream>
#include <span>
#include <vector>

#include "common/ids.h"

namespace pagoda::core {

// The last step that can touch what is released with it. Steps count from 1 within an epoch; 0 is
// "no step ever did".
using StepFence = StrongId<struct StepFenceTag, uint64_t>;

// A reference to a held block. Ids are what plans carry; generations stay in the coordinator.
struct BlockRef {
  int32_t id = 0;
  uint32_t generation = 0;

  friend bool operator==(const BlockRef&, const BlockRef&) = default;
  friend std::ostream& operator<<(std::ostream& os, const BlockRef& ref) {
    return os << "block " << ref.id << " generation " << ref.generation;
  }
};

class BlockPool {
 public:
  // REQUIRES: num_blocks >= 1, block 0 not counted.
  explicit BlockPool(int32_t num_blocks);
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;
  // CHECKs that every block came back.
  ~BlockPool();

  int32_t num_blocks() const { return static_cast<int32_t>(blocks_.size()) - 1; }
  int32_t num_free() const { return num_free_; }
  int32_t num_held() const { return num_blocks() - num_free_; }

  // Takes a free block with one reference: `preferred` if that is the id of a free block, else the
  // one that has been free for longest. The kernels of steps up to ReleasedAt(id) may still be
  // running: a later step may write the block at once (execution order is the fence), a transfer
  // must wait. REQUIRES: num_free() >= 1.
  BlockRef Acquire(int32_t preferred = 0);

  // One more reference. REQUIRES: `ref` is not stale.
  void Share(BlockRef ref);

  // One reference less; the last one frees the block and makes every handle to it stale.
  // `last_step` is the last step sent that can touch the block on behalf of this reference.
  // REQUIRES: `ref` is not stale.
  void Release(BlockRef ref, StepFence last_step);

  // How many references the block has. REQUIRES: `ref` is not stale.
  int32_t references(BlockRef ref) const {
    CheckLive(ref);
    return blocks_[ref.id].references;
  }

  // The latest fence that any reference to block `id` was released with.
  StepFence ReleasedAt(int32_t id) const;

  // Full audit, O(num_blocks): block `id` has references[id] references, the free list holds
  // exactly the blocks with none, and the counts add up. REQUIRES: references.size() ==
  // num_blocks() + 1.
  void CheckInvariants(std::span<const int32_t> references) const;

 private:
  // Record 0 is the free list's end on both sides, so that linking has no special cases.
  struct Block {
    int32_t previous = 0;     // in the free list, towards the oldest; meaningless while held
    int32_t next = 0;         // in the free list, towards the newest; meaningless while held
    uint32_t generation = 0;  // of the handles that are valid now
    int32_t references = 0;   // 0 = free
    StepFence released_at;
  };
  static_assert(sizeof(Block) == 24);

  bool IsFree(int32_t id) const {
    return id >= 1 && id <= num_blocks() && blocks_[id].references == 0;
  }
  // CHECKs that `ref` is a handle of a held block.
  void CheckLive(BlockRef ref) const;

  std::vector<Block> blocks_;  // by id
  int32_t num_free_ = 0;       // length of the free list
};

}  // namespace pagoda::core
