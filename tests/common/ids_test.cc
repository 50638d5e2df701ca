#include "common/ids.h"

#include <cstdint>
#include <sstream>
#include <type_traits>

#include "absl/container/flat_hash_set.h"
#include "gtest/gtest.h"

namespace pagoda {
namespace {

struct LaneTag;
struct BlockTag;
using LaneId = StrongId<LaneTag, uint8_t>;
using BlockId = StrongId<BlockTag, uint64_t>;

static_assert(!std::is_convertible_v<uint64_t, BlockId>, "a number is no id by itself");
static_assert(!std::is_convertible_v<BlockId, uint64_t>);
static_assert(!std::is_constructible_v<BlockId, LaneId>, "ids do not mix");
static_assert(sizeof(LaneId) == 1 && std::is_trivially_copyable_v<LaneId>);

TEST(StrongIdTest, DefaultIsZeroAndValueComesBack) {
  EXPECT_EQ(BlockId().value(), 0u);
  EXPECT_EQ(BlockId(7).value(), 7u);
}

TEST(StrongIdTest, ComparesLikeItsNumber) {
  EXPECT_EQ(BlockId(3), BlockId(3));
  EXPECT_NE(BlockId(3), BlockId(4));
  EXPECT_LT(BlockId(3), BlockId(4));
  EXPECT_GE(BlockId(4), BlockId(4));
}

TEST(StrongIdTest, IsAKeyOfHashSets) {
  absl::flat_hash_set<BlockId> ids = {BlockId(1), BlockId(2), BlockId(1)};
  EXPECT_EQ(ids.size(), 2u);
  EXPECT_TRUE(ids.contains(BlockId(2)));
  EXPECT_FALSE(ids.contains(BlockId(3)));
}

TEST(StrongIdTest, PrintsAsANumberEvenOfOneByte) {
  std::ostringstream out;
  out << LaneId(65) << ' ' << BlockId(1'000'000'000'000);
  EXPECT_EQ(out.str(), "65 1000000000000");
}

}  // namespace
}  // namespace pagoda
