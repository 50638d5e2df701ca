#include "coordinator/core/kv/block_pool.h"

#include <gtest/gtest.h>

#include <vector>

namespace pagoda::core {
namespace {

constexpr StepFence kStep{1};

// A pool that gets everything back at the end of a test.
class BlockPoolTest : public testing::Test {
 protected:
  ~BlockPoolTest() override {
    for (const BlockRef block : held_) pool_.Release(block, kStep);
  }

  BlockRef Acquire(int32_t preferred = 0) {
    held_.push_back(pool_.Acquire(preferred));
    return held_.back();
  }
  void Release(BlockRef block, StepFence last_step = kStep) {
    pool_.Release(block, last_step);
    std::erase(held_, block);
  }

  BlockPool pool_{4};
  std::vector<BlockRef> held_;
};
using BlockPoolDeathTest = BlockPoolTest;

TEST_F(BlockPoolTest, GivesEachBlockOnceAndNeverBlockZero) {
  for (int32_t id = 1; id <= 4; ++id) {
    EXPECT_EQ(Acquire().id, id);
    EXPECT_EQ(pool_.num_held(), id);
    EXPECT_EQ(pool_.num_free(), 4 - id);
  }
}

TEST_F(BlockPoolTest, ReusesTheBlockThatWasFreeForLongest) {
  for (int i = 0; i < 4; ++i) Acquire();
  const std::vector<BlockRef> all = held_;
  for (const int i : {2, 0, 3, 1}) Release(all[i]);
  EXPECT_EQ(Acquire().id, 3);
  EXPECT_EQ(Acquire().id, 1);
  EXPECT_EQ(Acquire().id, 4);
  EXPECT_EQ(Acquire().id, 2);
}

TEST_F(BlockPoolTest, GivesThePreferredBlockOnlyIfItIsFree) {
  EXPECT_EQ(Acquire(3).id, 3);  // from the middle of the free list
  EXPECT_EQ(Acquire(3).id, 1);  // taken: the oldest instead
  EXPECT_EQ(Acquire(5).id, 2);  // no such block
  EXPECT_EQ(Acquire(-7).id, 4);
  Release(held_[1]);
  Release(held_[2]);
  EXPECT_EQ(Acquire(4).id, 4);  // the last block is one like the others
}

TEST_F(BlockPoolTest, KeepsASharedBlockUntilTheLastReferenceGoes) {
  const BlockRef block = Acquire();
  pool_.Share(block);
  EXPECT_EQ(pool_.references(block), 2);
  pool_.Release(block, kStep);
  EXPECT_EQ(pool_.references(block), 1);
  EXPECT_EQ(pool_.num_held(), 1);
  Release(block);
  EXPECT_EQ(pool_.num_free(), 4);
}

TEST_F(BlockPoolTest, GivesAReusedBlockAnotherGeneration) {
  const BlockRef first = Acquire();
  Release(first);
  const BlockRef again = Acquire(first.id);
  EXPECT_EQ(again.id, first.id);
  EXPECT_NE(again.generation, first.generation);
}

TEST_F(BlockPoolTest, RemembersTheLatestStepOverAllReferences) {
  const BlockRef block = Acquire();
  EXPECT_EQ(pool_.ReleasedAt(block.id), StepFence{0});
  pool_.Share(block);
  pool_.Release(block, StepFence{9});
  Release(block, StepFence{7});
  EXPECT_EQ(pool_.ReleasedAt(block.id), StepFence{9});
  EXPECT_EQ(pool_.ReleasedAt(block.id + 1), StepFence{0});
  // Step 9 may still be running while the next owner has the block.
  Acquire(block.id);
  EXPECT_EQ(pool_.ReleasedAt(block.id), StepFence{9});
}

TEST_F(BlockPoolTest, AuditAcceptsTheTruth) {
  pool_.CheckInvariants(std::vector<int32_t>{0, 0, 0, 0, 0});
  const BlockRef block = Acquire(2);
  pool_.Share(block);
  pool_.CheckInvariants(std::vector<int32_t>{0, 0, 2, 0, 0});
  pool_.Release(block, kStep);
  Acquire();
  pool_.CheckInvariants(std::vector<int32_t>{0, 1, 1, 0, 0});
}

TEST_F(BlockPoolDeathTest, AuditRefusesALostOrAnUncountedReference) {
  Acquire(2);
  EXPECT_DEATH(pool_.CheckInvariants(std::vector<int32_t>{0, 0, 0, 0, 0}), "references of block 2");
  EXPECT_DEATH(pool_.CheckInvariants(std::vector<int32_t>{0, 0, 2, 0, 0}), "references of block 2");
  EXPECT_DEATH(pool_.CheckInvariants(std::vector<int32_t>{0, 0, 1}), "references.size");
  EXPECT_DEATH(pool_.CheckInvariants(std::vector<int32_t>{1, 0, 1, 0, 0}), "block 0 is reserved");
}

TEST_F(BlockPoolDeathTest, StaleHandlesAreDetected) {
  const BlockRef stale = Acquire();
  Release(stale);
  EXPECT_DEATH(pool_.Release(stale, kStep), "stale handle: block 1 generation 0");
  EXPECT_DEATH(pool_.Share(stale), "stale handle");
  EXPECT_DEATH(pool_.references(stale), "stale handle");
  Acquire(stale.id);  // a new owner does not make the old handle valid
  EXPECT_DEATH(pool_.Release(stale, kStep), "stale handle");
}

TEST_F(BlockPoolDeathTest, HandlesThatNobodyGaveAreDetected) {
  EXPECT_DEATH(pool_.Share({0, 0}), "blocks are 1 to 4");
  EXPECT_DEATH(pool_.Share({5, 0}), "blocks are 1 to 4");
  EXPECT_DEATH(pool_.Share({-1, 0}), "blocks are 1 to 4");
  EXPECT_DEATH(pool_.Share({1, 0}), "stale handle");  // right generation, but free
  EXPECT_DEATH(pool_.ReleasedAt(0), "blocks are 1 to 4");
}

TEST_F(BlockPoolDeathTest, AnEmptyPoolMustNotBeAsked) {
  for (int i = 0; i < 4; ++i) Acquire();
  EXPECT_DEATH(pool_.Acquire(), "no free block");
}

TEST(BlockPoolLifeDeathTest, APoolOutlivesItsReferences) {
  EXPECT_DEATH(BlockPool(2).Acquire(), "never came back");
}

TEST(BlockPoolLifeDeathTest, APoolHasABlock) { EXPECT_DEATH(BlockPool(0), "num_blocks >= 1"); }

}  // namespace
}  // namespace pagoda::core
