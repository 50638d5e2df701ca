#include "common/hash.h"

#include <string>

#include "gtest/gtest.h"

namespace pagoda {
namespace {

constexpr uint64_t kPrime32 = 2654435761;
constexpr uint64_t kPrime64 = 11400714785074694797u;

// The buffer of the reference implementation's own sanity checks.
std::string SanityBuffer(size_t bytes) {
  std::string buffer;
  uint64_t generator = kPrime32;
  for (size_t i = 0; i < bytes; ++i) {
    buffer += static_cast<char>(generator >> 56);
    generator *= kPrime64;
  }
  return buffer;
}

TEST(Hash64Test, MatchesPublishedXxh64OfShortStrings) {
  EXPECT_EQ(Hash64(""), 0xEF46DB3751D8E999u);
  EXPECT_EQ(Hash64("a"), 0xD24EC4F1A98C6E5Bu);
  EXPECT_EQ(Hash64("abc"), 0x44BC2CF5AD770999u);
}

TEST(Hash64Test, MatchesTheReferenceSanityChecks) {
  const std::string buffer = SanityBuffer(222);
  const auto prefix = [&](size_t n) { return absl::string_view(buffer).substr(0, n); };
  EXPECT_EQ(Hash64(prefix(0), kPrime32), 0xAC75FDA2929B17EFu);
  EXPECT_EQ(Hash64(prefix(1)), 0xE934A84ADB052768u);
  EXPECT_EQ(Hash64(prefix(1), kPrime32), 0x5014607643A9B4C3u);
  EXPECT_EQ(Hash64(prefix(4)), 0x9136A0DCA57457EEu);
  EXPECT_EQ(Hash64(prefix(14)), 0x8282DCC4994E35C8u);
  EXPECT_EQ(Hash64(prefix(14), kPrime32), 0xC3BD6BF63DEB6DF0u);
  EXPECT_EQ(Hash64(prefix(222)), 0xB641AE8CB691C174u);
  EXPECT_EQ(Hash64(prefix(222), kPrime32), 0x20CB8AB7AE10C14Au);
}

// Computed with the reference implementation over the same buffer: the borders of its stripes.
TEST(Hash64Test, MatchesTheReferenceAroundStripeBorders) {
  const std::string buffer = SanityBuffer(256);
  const auto prefix = [&](size_t n) { return absl::string_view(buffer).substr(0, n); };
  EXPECT_EQ(Hash64(prefix(8)), 0xCDBCF538E71D1348u);
  EXPECT_EQ(Hash64(prefix(31)), 0x299B39A290E6D783u);
  EXPECT_EQ(Hash64(prefix(32)), 0x18B216492BB44B70u);
  EXPECT_EQ(Hash64(prefix(33)), 0x55C8DC3E578F5B59u);
  EXPECT_EQ(Hash64(prefix(63), kPrime32), 0x6C911FADB05B6FC2u);
  EXPECT_EQ(Hash64(prefix(64), kPrime32), 0xB5EEBA99264CC44Fu);
  EXPECT_EQ(Hash64(prefix(256), kPrime32), 0x34733CBD9CC1B0D5u);
}

TEST(Hash64Test, EveryByteOfEveryLengthCounts) {
  for (size_t length = 1; length <= 80; ++length) {
    std::string text = SanityBuffer(length);
    const uint64_t before = Hash64(text);
    for (char& c : text) {
      c ^= 1;
      ASSERT_NE(Hash64(text), before) << length;
      c ^= 1;
    }
  }
}

TEST(Hash64Test, DoesNotDependOnAlignment) {
  const std::string text = SanityBuffer(100);
  for (size_t offset = 0; offset < 8; ++offset) {
    const std::string shifted = std::string(offset, 'x') + text;
    ASSERT_EQ(Hash64(absl::string_view(shifted).substr(offset)), Hash64(text));
  }
}

TEST(RunningHashTest, ChainsTheHashOfEachPart) {
  RunningHash hash;
  EXPECT_EQ(hash.value(), 0u);
  hash.Add("abc");
  EXPECT_EQ(hash.value(), 0x44BC2CF5AD770999u);
  hash.Add("de");
  EXPECT_EQ(hash.value(), Hash64("de", 0x44BC2CF5AD770999u));
}

TEST(RunningHashTest, BordersOrderAndEmptyPartsCount) {
  const auto chain = [](std::initializer_list<absl::string_view> parts) {
    RunningHash hash;
    for (absl::string_view part : parts) hash.Add(part);
    return hash.value();
  };
  EXPECT_NE(chain({"ab", "c"}), chain({"a", "bc"}));
  EXPECT_NE(chain({"a", "b"}), chain({"b", "a"}));
  EXPECT_NE(chain({"a"}), chain({"a", ""}));
}

}  // namespace
}  // namespace pagoda
