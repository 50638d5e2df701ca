#include "common/escape.h"

#include "common/utf8.h"
#include "gtest/gtest.h"

namespace pagoda {
namespace {

TEST(Utf8Test, CharLengthsAtTheBordersOfEachForm) {
  EXPECT_EQ(Utf8CharLength(""), 0u);
  EXPECT_EQ(Utf8CharLength(absl::string_view("\0", 1)), 1u);
  EXPECT_EQ(Utf8CharLength("\x7f"), 1u);
  EXPECT_EQ(Utf8CharLength("\xc2\x80"), 2u);
  EXPECT_EQ(Utf8CharLength("\xdf\xbf!"), 2u);
  EXPECT_EQ(Utf8CharLength("\xe0\xa0\x80"), 3u);
  EXPECT_EQ(Utf8CharLength("\xed\x9f\xbf"), 3u);
  EXPECT_EQ(Utf8CharLength("\xee\x80\x80"), 3u);
  EXPECT_EQ(Utf8CharLength("\xef\xbf\xbf"), 3u);
  EXPECT_EQ(Utf8CharLength("\xf0\x90\x80\x80"), 4u);
  EXPECT_EQ(Utf8CharLength("\xf4\x8f\xbf\xbf"), 4u);
}

TEST(Utf8Test, IllFormedCharactersHaveNoLength) {
  for (absl::string_view bad : {"\x80",              // continuation alone
                                "\xc1\xbf",          // overlong
                                "\xe0\x9f\xbf",      // overlong
                                "\xf0\x8f\xbf\xbf",  // overlong
                                "\xed\xa0\x80",      // surrogate
                                "\xf4\x90\x80\x80",  // above U+10FFFF
                                "\xf5\x80\x80\x80",
                                "\xff",
                                "\xc3",          // cut
                                "\xe2\x82",      // cut
                                "\xe2\x82!",     // third byte wrong
                                "\xf0\x9f\x98",  // cut
                                "\xc3("}) {
    EXPECT_EQ(Utf8CharLength(bad), 0u) << JsonQuote(bad);
  }
}

TEST(Utf8Test, ValidPrefixStopsAtTheFirstBadByte) {
  EXPECT_EQ(Utf8ValidPrefix(""), 0u);
  EXPECT_EQ(Utf8ValidPrefix("naïve 🙂"), std::string("naïve 🙂").size());
  EXPECT_EQ(Utf8ValidPrefix("ab\xff"
                            "cd"),
            2u);
  EXPECT_EQ(Utf8ValidPrefix("ab\xe2\x82"), 2u);
}

TEST(EscapeTest, JsonKeepsTextAndEscapesItsOwnSyntax) {
  EXPECT_EQ(JsonQuote(""), R"("")");
  EXPECT_EQ(JsonQuote("naïve 🙂 /"), R"("naïve 🙂 /")");
  EXPECT_EQ(JsonQuote(R"(say "a\b")"), R"("say \"a\\b\"")");
}

TEST(EscapeTest, ControlCharactersBecomeEscapes) {
  EXPECT_EQ(JsonQuote("a\nb\rc\td"), R"("a\nb\rc\td")");
  EXPECT_EQ(JsonQuote(absl::string_view("\0\x1b[2J\x7f", 6)), R"("\u0000\u001b[2J\u007f")");
  EXPECT_EQ(EscapeLine("x\x1b[31m\n"), R"(x\u001b[31m\n)");
}

TEST(EscapeTest, C1LineSeparatorAndBidiControlsAreEscaped) {
  EXPECT_EQ(EscapeLine("\xc2\x80 \xc2\x9f \xc2\xa0"), "\\u0080 \\u009f \xc2\xa0");
  EXPECT_EQ(EscapeLine("\u2028\u202e\u2066\u2069"), R"(\u2028\u202e\u2066\u2069)");
  EXPECT_EQ(EscapeLine("\u2027\u202f\u2065\u206a"), "\u2027\u202f\u2065\u206a");
}

TEST(EscapeTest, BytesThatAreNotUtf8BecomeHex) {
  EXPECT_EQ(EscapeLine("a\xff\xe2\x82z"), R"(a\xff\xe2\x82z)");
  EXPECT_EQ(JsonQuote("a\xffz"), R"("a\\xffz")") << "\\x is no JSON escape";
}

TEST(EscapeTest, LinesKeepQuotesAndBackslashes) {
  EXPECT_EQ(EscapeLine(R"(got "C:\x")"), R"(got "C:\x")");
}

}  // namespace
}  // namespace pagoda
