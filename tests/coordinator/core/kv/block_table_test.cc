#include "coordinator/core/kv/block_table.h"

#include <gtest/gtest.h>

#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "coordinator/core/kv/block_manager.h"

namespace pagoda::core {
namespace {

constexpr StepFence kStep{1};
static_assert(!std::is_copy_constructible_v<BlockTable> && !std::is_copy_assignable_v<BlockTable>);

TEST(BlockTable, MovesItsBlocksAndIsEmptyThen) {
  BlockManager manager(4, 2);
  BlockTable first = manager.MakeTable(8);
  std::vector<BlockChange> changes;
  manager.Grow(&first, 3, kStep, &changes);

  BlockTable second = std::move(first);
  // NOLINTNEXTLINE(bugprone-use-after-move): empty by contract
  EXPECT_TRUE(first.empty());
  EXPECT_EQ(first.tokens(), 0);
  EXPECT_EQ(manager.BlocksNeeded(first, 1), 1);
  EXPECT_EQ(second.tokens(), 3);
  EXPECT_EQ(second.blocks().size(), 2);

  first = std::move(second);
  // NOLINTNEXTLINE(bugprone-use-after-move): empty by contract
  EXPECT_TRUE(second.empty());
  EXPECT_EQ(first.tokens(), 3);
  // The spare place in the last block moved along.
  EXPECT_EQ(manager.BlocksNeeded(first, 4), 0);
  EXPECT_EQ(manager.BlocksNeeded(second, 1), 1);
  manager.Free(&first, kStep);
}

TEST(BlockTableDeathTest, MustBeHandedBack) {
  BlockManager manager(4, 2);
  std::optional<BlockTable> table = manager.MakeTable(8);
  std::vector<BlockChange> changes;
  manager.Grow(&*table, 3, kStep, &changes);
  EXPECT_DEATH(table.reset(), "a table with 2 blocks was not handed back");
  manager.Free(&*table, kStep);
  table.reset();
}

TEST(BlockTableDeathTest, IsNotOverwrittenWhileItHoldsBlocks) {
  BlockManager manager(4, 2);
  BlockTable table = manager.MakeTable(8);
  std::vector<BlockChange> changes;
  manager.Grow(&table, 1, kStep, &changes);
  EXPECT_DEATH(table = BlockTable(), "a table with 1 blocks would be lost");
  manager.Free(&table, kStep);
}

}  // namespace
}  // namespace pagoda::core
