#include "coordinator/core/kv/block_manager.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <list>
#include <span>
#include <sstream>
#include <vector>

namespace pagoda::core {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr StepFence kStep{5};

BlockChange Append(int32_t block, int32_t count) {
  return {.kind = BlockChange::Kind::kAppend, .block = block, .count = count};
}
BlockChange Copy(int32_t source, int32_t block) {
  return {.kind = BlockChange::Kind::kCopy, .block = block, .source = source};
}
BlockChange Set(int32_t index, int32_t block) {
  return {.kind = BlockChange::Kind::kSet, .block = block, .index = index};
}

// 6 blocks of 4 tokens. Tables live in tables_ and are audited and handed back at the end of a
// test.
class BlockManagerTest : public testing::Test {
 protected:
  ~BlockManagerTest() override {
    Audit();
    for (BlockTable& table : tables_) manager_.Free(&table, kStep);
    EXPECT_EQ(manager_.pool().num_held(), 0);
  }

  BlockTable& Bind(int64_t tokens = 0) {
    BlockTable& table = tables_.emplace_back(manager_.MakeTable(24));
    Grow(table, tokens);
    return table;
  }
  BlockTable& Fork(BlockTable& parent) { return tables_.emplace_back(manager_.Fork(&parent)); }
  std::vector<BlockChange> Grow(BlockTable& table, int64_t tokens) {
    std::vector<BlockChange> changes;
    manager_.Grow(&table, tokens, kStep, &changes);
    return changes;
  }
  void Audit() {
    std::vector<const BlockTable*> tables;
    for (const BlockTable& table : tables_) tables.push_back(&table);
    manager_.CheckInvariants(tables);
  }
  static std::vector<int32_t> Ids(const BlockTable& table) {
    std::vector<int32_t> ids;
    for (const BlockRef block : table.blocks()) ids.push_back(block.id);
    return ids;
  }
  int32_t num_free() const { return manager_.pool().num_free(); }

  BlockManager manager_{6, 4};
  std::list<BlockTable> tables_;
};
using BlockManagerDeathTest = BlockManagerTest;

TEST_F(BlockManagerTest, CountsBlocksForTokens) {
  EXPECT_EQ(manager_.MaxTokens(), 24);
  EXPECT_EQ(manager_.BlocksFor(0), 0);
  EXPECT_EQ(manager_.BlocksFor(1), 1);
  EXPECT_EQ(manager_.BlocksFor(4), 1);
  EXPECT_EQ(manager_.BlocksFor(5), 2);
  EXPECT_EQ(manager_.BlocksFor(std::numeric_limits<int64_t>::max()), int64_t{1} << 61);
}

TEST_F(BlockManagerTest, APromptIsOneRunOfBlocks) {
  BlockTable& table = Bind();
  EXPECT_EQ(manager_.BlocksNeeded(table, 9), 3);
  EXPECT_THAT(Grow(table, 9), ElementsAre(Append(1, 3)));
  EXPECT_EQ(table.tokens(), 9);
  EXPECT_THAT(Ids(table), ElementsAre(1, 2, 3));
}

TEST_F(BlockManagerTest, DecodingTakesABlockOnlyWhenTheLastOneIsFull) {
  BlockTable& table = Bind(4);
  EXPECT_THAT(Grow(table, 5), ElementsAre(Append(2, 1)));
  EXPECT_THAT(Grow(table, 6), IsEmpty());
  EXPECT_THAT(Grow(table, 6), IsEmpty());
  EXPECT_THAT(Grow(table, 8), IsEmpty());
  EXPECT_EQ(manager_.BlocksNeeded(table, 8), 0);
  EXPECT_EQ(manager_.BlocksNeeded(table, 9), 1);
}

TEST_F(BlockManagerTest, RunsAreBrokenByBlocksOfOthers) {
  BlockTable& first = Bind(1);
  BlockTable& second = Bind(1);
  Bind(1);
  manager_.Free(&second, kStep);
  EXPECT_THAT(Grow(first, 20), ElementsAre(Append(2, 1), Append(4, 3)));
}

TEST_F(BlockManagerTest, NeighboursArePreferredToOlderBlocks) {
  BlockTable& first = Bind(4);
  BlockTable& second = Bind(8);
  manager_.Free(&second, kStep);
  // Free for longest is block 4, but 2 and 3 continue the run.
  EXPECT_THAT(Grow(first, 12), ElementsAre(Append(2, 2)));
}

TEST_F(BlockManagerTest, CanGrowIsExact) {
  BlockTable& table = Bind(4);
  EXPECT_TRUE(manager_.CanGrow(table, 24));
  EXPECT_FALSE(manager_.CanGrow(table, 25));
  EXPECT_FALSE(manager_.CanGrow(table, std::numeric_limits<int64_t>::max()));
  Bind(20);
  EXPECT_TRUE(manager_.CanGrow(table, 4));
  EXPECT_FALSE(manager_.CanGrow(table, 5));
}

TEST_F(BlockManagerTest, ATableDoesNotAllocateAgainUpToItsMaximum) {
  BlockTable& table = Bind(1);
  const BlockRef* storage = table.blocks().data();
  for (int64_t tokens = 2; tokens <= 24; ++tokens) Grow(table, tokens);
  EXPECT_EQ(table.blocks().data(), storage);
  manager_.Free(&table, kStep);
  Grow(table, 24);
  EXPECT_EQ(table.blocks().data(), storage);
  manager_.Truncate(&table, 3, kStep);

  BlockTable& child = Fork(table);
  const BlockRef* child_storage = child.blocks().data();
  EXPECT_NE(child_storage, storage);
  Grow(child, 20);
  EXPECT_EQ(child.blocks().data(), child_storage);
}

TEST_F(BlockManagerTest, AForkTakesNoBlock) {
  BlockTable& parent = Bind(6);
  BlockTable& child = Fork(parent);
  EXPECT_EQ(num_free(), 4);
  EXPECT_EQ(child.tokens(), 6);
  EXPECT_EQ(Ids(child), Ids(parent));
}

TEST_F(BlockManagerTest, TheFirstWriterOfASharedBlockCopiesItAndTheLastDoesNot) {
  BlockTable& parent = Bind(6);
  BlockTable& child = Fork(parent);
  EXPECT_EQ(manager_.BlocksNeeded(parent, 7), 1);
  EXPECT_EQ(manager_.BlocksNeeded(child, 7), 1);
  EXPECT_THAT(Grow(parent, 7), ElementsAre(Copy(2, 3), Set(1, 3)));
  EXPECT_THAT(Ids(parent), ElementsAre(1, 3));
  EXPECT_EQ(manager_.BlocksNeeded(child, 7), 0);
  EXPECT_THAT(Grow(child, 7), IsEmpty());
  EXPECT_THAT(Ids(child), ElementsAre(1, 2));
  EXPECT_EQ(num_free(), 3);
}

TEST_F(BlockManagerTest, ASharedBlockIsCopiedBeforeFurtherBlocksAreAppended) {
  BlockTable& parent = Bind(6);
  BlockTable& child = Fork(parent);
  EXPECT_EQ(manager_.BlocksNeeded(child, 13), 3);
  EXPECT_THAT(Grow(child, 13), ElementsAre(Copy(2, 3), Set(1, 3), Append(4, 2)));
}

TEST_F(BlockManagerTest, AForkOfFullBlocksCopiesNothing) {
  BlockTable& parent = Bind(8);
  BlockTable& child = Fork(parent);
  EXPECT_THAT(Grow(parent, 9), ElementsAre(Append(3, 1)));
  EXPECT_THAT(Grow(child, 9), ElementsAre(Append(4, 1)));
}

TEST_F(BlockManagerTest, AForkTakesTheSparePlaceAwayFromTheParent) {
  BlockTable& parent = Bind(5);
  Grow(parent, 6);  // without a look at the pool
  Fork(parent);
  EXPECT_THAT(Grow(parent, 7), ElementsAre(Copy(2, 3), Set(1, 3)));
}

TEST_F(BlockManagerTest, TruncationIntoASharedBlockIsFollowedByACopy) {
  BlockTable& parent = Bind(4);
  BlockTable& child = Fork(parent);
  Grow(child, 6);
  manager_.Truncate(&child, 3, kStep);
  EXPECT_THAT(Ids(child), ElementsAre(1));
  // The freed block 2 went to the end of the list.
  EXPECT_THAT(Grow(child, 4), ElementsAre(Copy(1, 3), Set(0, 3)));
}

TEST_F(BlockManagerTest, TruncationKeepsTheBlocksThatAreNeeded) {
  BlockTable& table = Bind(12);
  manager_.Truncate(&table, 12, kStep);
  EXPECT_EQ(num_free(), 3);
  manager_.Truncate(&table, 9, kStep);
  EXPECT_EQ(num_free(), 3);
  manager_.Truncate(&table, 8, kStep);
  EXPECT_EQ(num_free(), 4);
  EXPECT_EQ(table.tokens(), 8);
  manager_.Truncate(&table, 0, kStep);
  EXPECT_EQ(num_free(), 6);
}

TEST_F(BlockManagerTest, AGroupNeedsOneCopyLessThanItHasWriters) {
  BlockTable& first = Bind(6);
  BlockTable& second = Fork(first);
  BlockTable& third = Fork(first);
  const Growth all[] = {{&first, 7}, {&second, 7}, {&third, 7}};
  EXPECT_EQ(manager_.BlocksNeeded(all), 2);
  // A third table that stays as it is keeps the shared block shared.
  EXPECT_EQ(manager_.BlocksNeeded(std::span(all).first(2)), 2);
  const Growth one_waits[] = {{&first, 7}, {&second, 6}, {&third, 7}};
  EXPECT_EQ(manager_.BlocksNeeded(one_waits), 2);
  const Growth uneven[] = {{&first, 13}, {&second, 7}, {&third, 9}};
  EXPECT_EQ(manager_.BlocksNeeded(uneven), 2 + 2 + 1);
  EXPECT_FALSE(manager_.CanGrow(uneven));
  EXPECT_TRUE(manager_.CanGrow(all));
}

TEST_F(BlockManagerTest, AGroupFitsIntoThePoolToTheLastBlock) {
  BlockTable& first = Bind(18);
  BlockTable& second = Fork(first);
  ASSERT_EQ(num_free(), 1);
  const Growth both[] = {{&first, 20}, {&second, 20}};
  ASSERT_TRUE(manager_.CanGrow(both));
  Grow(first, 20);
  Grow(second, 20);
  EXPECT_EQ(num_free(), 0);
}

TEST_F(BlockManagerTest, FencesAreKeptPerBlock) {
  BlockTable& parent = Bind(6);
  BlockTable& child = Fork(parent);
  std::vector<BlockChange> changes;
  manager_.Grow(&child, 7, StepFence{8}, &changes);
  // The copy of step 8 reads block 2, also if the parent leaves it with an earlier step.
  manager_.Free(&parent, StepFence{7});
  EXPECT_EQ(manager_.pool().ReleasedAt(2), StepFence{8});
  manager_.Truncate(&child, 4, StepFence{9});
  EXPECT_EQ(manager_.pool().ReleasedAt(3), StepFence{9});
  manager_.Free(&child, StepFence{10});
  EXPECT_EQ(manager_.pool().ReleasedAt(1), StepFence{10});
}

TEST_F(BlockManagerTest, OneBlockOfOneTokenIsAPool) {
  BlockManager manager(1, 1);
  BlockTable table = manager.MakeTable(1'000'000);
  std::vector<BlockChange> changes;
  manager.Grow(&table, 1, kStep, &changes);
  EXPECT_THAT(changes, ElementsAre(Append(1, 1)));
  EXPECT_FALSE(manager.CanGrow(table, 2));
  manager.Free(&table, kStep);
}

TEST_F(BlockManagerTest, PrintsChanges) {
  std::ostringstream os;
  os << Copy(2, 3) << ", " << Set(1, 3) << ", " << Append(4, 2);
  EXPECT_EQ(os.str(), "copy 2 to 3, set [1] = 3, append 4 x 2");
}

TEST_F(BlockManagerDeathTest, GrowingWithoutAskingDies) {
  BlockTable& table = Bind(4);
  EXPECT_DEATH(Grow(table, 25), "6 blocks needed, 5 free");
}

TEST_F(BlockManagerDeathTest, GrowingAndTruncatingGoOneWay) {
  BlockTable& table = Bind(4);
  EXPECT_DEATH(Grow(table, 3), "growing does not shorten a table");
  const Growth shorter[] = {{&table, 3}};
  EXPECT_DEATH(manager_.CanGrow(shorter), "growing does not shorten a table");
  EXPECT_DEATH(manager_.Truncate(&table, 5, kStep), "got 5 of 4");
  EXPECT_DEATH(manager_.Truncate(&table, -1, kStep), "got -1 of 4");
}

TEST_F(BlockManagerDeathTest, SharedBlocksAreNotWritable) {
  BlockTable& parent = Bind(6);
  BlockTable& child = Fork(parent);
  Grow(child, 9);  // blocks 1 (shared), 3, 4
  manager_.CheckWritable(child, 4, 9);
  manager_.CheckWritable(child, 0, 0);
  manager_.CheckWritable(parent, 4, 6);
  EXPECT_DEATH(manager_.CheckWritable(child, 3, 9), "a row would write shared block 1");
  EXPECT_DEATH(manager_.CheckWritable(child, 0, 1), "a row would write shared block 1");
  EXPECT_DEATH(manager_.CheckWritable(child, 8, 10), "\\[8, 10\\) of 9 tokens");
}

TEST_F(BlockManagerDeathTest, AuditFindsATableThatWasLeftOut) {
  Bind(4);
  EXPECT_DEATH(manager_.CheckInvariants({}), "references of block 1");
}

TEST_F(BlockManagerDeathTest, AuditFindsATableThatIsCountedTwice) {
  BlockTable& table = Bind(4);
  EXPECT_DEATH(manager_.CheckInvariants({&table, &table}), "references of block 1");
}

}  // namespace
}  // namespace pagoda::core
