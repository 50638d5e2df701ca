#include "coordinator/text/utf8_lossy.h"

#include <string>
#include <string_view>

#include "common/random.h"
#include "common/utf8.h"
#include "gtest/gtest.h"

namespace pagoda {
namespace {

std::string Whole(std::string_view bytes) {
  Utf8Lossy lossy;
  std::string out;
  lossy.Append(bytes, &out);
  lossy.Flush(&out);
  return out;
}

TEST(Utf8LossyTest, WellFormedTextPasses) {
  for (const std::string text :
       {"", "plain", "é ß", "你好", "😀", "\u0800\uD7FF\uE000\uFFFD\U00010000\U0010FFFF"}) {
    EXPECT_EQ(Whole(text), text);
  }
}

TEST(Utf8LossyTest, EachMaximalSubpartBecomesOneReplacement) {
  const struct {
    std::string_view bytes;
    std::string_view text;
  } cases[] = {
      {"\x80", "�"},
      {"a\xFFz", "a�z"},
      {"\xC0\xAF", "��"},               // overlong
      {"\xE0\x80\x80", "���"},          // overlong
      {"\xED\xA0\x80", "���"},          // a surrogate
      {"\xF4\x90\x80\x80", "����"},     // above U+10FFFF
      {"\xF0\x9F\x98", "�"},            // cut short by the end
      {"\xF0\x9F\x98x", "�x"},          // cut short by a letter
      {"\xE4\xBD\xE4\xBD\xA0", "�你"},  // cut short by a character
      {"\xF0\x90\xE4\xBD\xA0\xC2", "�你�"},
      {"\xF0\x80\x80\x41", "���A"},
      {"\xF5\xC1\x9F", "���"},
  };
  for (const auto& c : cases) EXPECT_EQ(Whole(c.bytes), c.text);
}

TEST(Utf8LossyTest, AnUnfinishedCharacterWaits) {
  Utf8Lossy lossy;
  std::string out;
  lossy.Append("a\xF0", &out);
  lossy.Append("\x9F", &out);
  lossy.Append("\x98", &out);
  EXPECT_EQ(out, "a");
  lossy.Append("\x80", &out);
  EXPECT_EQ(out, "a😀");
  lossy.Append("\xE4\xBD", &out);
  EXPECT_EQ(out, "a😀");
  lossy.Flush(&out);
  EXPECT_EQ(out, "a😀�");
  lossy.Flush(&out);
  EXPECT_EQ(out, "a😀�");
}

TEST(Utf8LossyTest, CutsDoNotMatterAndOutputIsAlwaysWellFormed) {
  // Bytes that make most starts, continuations and borders of the encoding's ranges likely.
  constexpr std::string_view kBytes =
      "a\x7F\x80\x8F\x90\x9F\xA0\xBF\xC1\xC2\xDF\xE0\xE4\xED\xEF\xF0\xF1\xF4\xF5\xFF";
  Random random(1);
  for (int round = 0; round < 20000; ++round) {
    std::string bytes;
    for (uint64_t n = random.Below(12); n > 0; --n) bytes += kBytes[random.Below(kBytes.size())];
    Utf8Lossy lossy;
    std::string out;
    for (size_t at = 0; at < bytes.size();) {
      const size_t size = random.Below(4);
      lossy.Append(std::string_view(bytes).substr(at, size), &out);
      ASSERT_EQ(Utf8ValidPrefix({out.data(), out.size()}), out.size());
      at += size;
    }
    lossy.Flush(&out);
    ASSERT_EQ(Utf8ValidPrefix({out.data(), out.size()}), out.size());
    ASSERT_EQ(out, Whole(bytes));
  }
}

}  // namespace
}  // namespace pagoda
