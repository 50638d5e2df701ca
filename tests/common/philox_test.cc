#include "common/philox.h"

#include "gtest/gtest.h"

namespace pagoda {
namespace {

using Block = std::array<uint32_t, 4>;

// The known-answer vectors "philox4x32 10" that the paper's authors publish with Random123.
TEST(PhiloxTest, MatchesTheKnownAnswers) {
  EXPECT_EQ(Philox4x32({0, 0, 0, 0}, {0, 0}),
            (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

static_assert(Philox4x32({0, 0, 0, 0}, {0, 0})[0] == 0x6627e8d5, "usable in constant expressions");

TEST(UniformOpenTest, IsExactlyTheDocumentedValueAndOpenAtBothEnds) {
  EXPECT_EQ(UniformOpen(0), 0x1p-24f);
  EXPECT_EQ(UniformOpen(511), 0x1p-24f) << "the low nine bits do not count";
  EXPECT_EQ(UniformOpen(512), 3 * 0x1p-24f);
  EXPECT_EQ(UniformOpen(0x80000000), 0.5f + 0x1p-24f);
  EXPECT_EQ(UniformOpen(~0u), 1.0f - 0x1p-24f);
  EXPECT_LT(UniformOpen(~0u), 1.0f);
}

TEST(UniformOpenTest, NeverRounds) {
  for (uint64_t bits = 0; bits <= UINT32_MAX; bits += 65'521) {
    const double exact = (static_cast<double>(bits >> 9) + 0.5) * 0x1p-23;
    ASSERT_EQ(static_cast<double>(UniformOpen(static_cast<uint32_t>(bits))), exact) << bits;
  }
}

}  // namespace
}  // namespace pagoda
