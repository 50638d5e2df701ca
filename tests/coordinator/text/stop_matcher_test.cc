#include "coordinator/text/stop_matcher.h"

#include <optional>
#include <string>
#include <vector>

#include "common/random.h"
#include "common/utf8.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace pagoda {
namespace {

using ::testing::HasSubstr;

using Stops = std::vector<std::string>;

TEST(StopMatcherTest, TextBeforeTheStopStringComesOut) {
  StopMatcher matcher({"STOP"});
  std::string out;
  EXPECT_FALSE(matcher.Append("one S", &out));
  EXPECT_EQ(out, "one ");
  EXPECT_FALSE(matcher.Append("T", &out));
  EXPECT_EQ(out, "one ");
  EXPECT_TRUE(matcher.Append("OP two", &out));
  EXPECT_EQ(out, "one ");
  EXPECT_TRUE(matcher.matched());
  EXPECT_FALSE(matcher.Append("more", &out));
  matcher.Flush(&out);
  EXPECT_EQ(out, "one ");
}

TEST(StopMatcherTest, TextThatOnlyLookedLikeAStopStringComesOut) {
  StopMatcher matcher({"aab"});
  std::string out;
  EXPECT_FALSE(matcher.Append("aaa", &out));
  EXPECT_EQ(out, "a");
  EXPECT_FALSE(matcher.Append("c", &out));
  EXPECT_EQ(out, "aaac");
  EXPECT_FALSE(matcher.Append("aa", &out));
  EXPECT_EQ(out, "aaac");
  matcher.Flush(&out);
  EXPECT_EQ(out, "aaacaa");
  EXPECT_FALSE(matcher.matched());
}

TEST(StopMatcherTest, WithoutStopStringsNothingWaits) {
  StopMatcher matcher({});
  std::string out;
  EXPECT_FALSE(matcher.Append("everything", &out));
  EXPECT_EQ(out, "everything");
}

TEST(StopMatcherTest, TheFirstToEndWinsThenTheLongest) {
  std::string out;
  EXPECT_TRUE(StopMatcher({"abcd", "bc"}).Append("xabcd", &out));
  EXPECT_EQ(out, "xa");
  out.clear();
  EXPECT_TRUE(StopMatcher({"c", "abc", "bc"}).Append("xabcd", &out));
  EXPECT_EQ(out, "x");
}

TEST(StopMatcherTest, HeldTextEndsOnWholeCharacters) {
  StopMatcher matcher({"你好"});
  std::string out;
  matcher.Append("a你", &out);
  EXPECT_EQ(out, "a");
  matcher.Append("佡", &out);  // begins with the same two bytes as 你
  EXPECT_EQ(out, "a你佡");
}

// The rule, told without an automaton.
struct Expected {
  std::string out;
  bool matched;
};

Expected Reference(const std::string& text, const Stops& stops, bool ended) {
  for (size_t end = 1; end <= text.size(); ++end) {
    std::optional<size_t> longest;
    for (const std::string& stop : stops) {
      if (text.substr(0, end).ends_with(stop)) longest = std::max(longest.value_or(0), stop.size());
    }
    if (longest) return {text.substr(0, end - *longest), true};
  }
  size_t hold = 0;
  for (const std::string& stop : stops) {
    for (size_t size = hold + 1; size < stop.size() && size <= text.size() && !ended; ++size) {
      if (text.ends_with(stop.substr(0, size))) hold = size;
    }
  }
  return {text.substr(0, text.size() - hold), false};
}

// A few letters, mostly two, so that stop strings overlap themselves and each other.
std::string Word(size_t length, Random& random) {
  const std::string letters[] = {"a", "b", "é", "è"};
  std::string word;
  for (; length > 0; --length) word += letters[random.Below(random.Bernoulli(0.8) ? 2 : 4)];
  return word;
}

TEST(StopMatcherTest, AgreesWithTheRuleAfterEveryPiece) {
  Random random(7);
  int matches = 0;
  for (int round = 0; round < 10000; ++round) {
    Stops stops(random.Below(5));
    for (std::string& stop : stops) stop = Word(1 + random.Below(9), random);
    StopMatcher matcher(stops);
    std::string text, out;
    for (int piece = 0; piece < 8 && !matcher.matched(); ++piece) {
      std::string more = Word(random.Below(4), random);
      // Text that nearly is a stop string, at whole characters.
      if (!stops.empty() && random.Bernoulli(0.5)) {
        const std::string& stop = stops[random.Below(stops.size())];
        more = stop.substr(0, Utf8ValidPrefix(stop.substr(0, random.Below(stop.size())))) + more;
      }
      text += more;
      const bool matched = matcher.Append(more, &out);
      const Expected expected = Reference(text, stops, false);
      ASSERT_EQ(matched, expected.matched);
      ASSERT_EQ(out, expected.out);
      ASSERT_EQ(Utf8ValidPrefix({out.data(), out.size()}), out.size());
      matches += matched;
    }
    matcher.Flush(&out);
    ASSERT_EQ(out, Reference(text, stops, true).out);
  }
  EXPECT_GT(matches, 2000);
  EXPECT_LT(matches, 9000);
}

TEST(StopMatcherTest, LongStopStringsAreFoundAcrossManyPieces) {
  const std::string stop = std::string(kMaxStopStringBytes - 1, 'a') + "b";
  StopMatcher matcher(Stops(kMaxStopStrings, stop));
  std::string out;
  for (int i = 0; i < 5000; ++i) ASSERT_FALSE(matcher.Append("a", &out));
  EXPECT_EQ(out.size(), 5000 - (stop.size() - 1));
  EXPECT_TRUE(matcher.Append("b", &out));
  EXPECT_EQ(out.size(), 5000 - (stop.size() - 1));
}

TEST(StopMatcherTest, LimitsAreNamed) {
  EXPECT_TRUE(ValidateStopStrings({}).ok());
  EXPECT_TRUE(ValidateStopStrings(Stops(16, std::string(1024, 'x'))).ok());
  const struct {
    Stops stops;
    const char* message;
  } cases[] = {{Stops(17, "x"), "stop has 17 strings, at most 16"},
               {{"x", ""}, "stop[1] is empty"},
               {{std::string(1025, 'x')}, "stop[0] has 1025 bytes, at most 1024"},
               {{"\xFF"}, "stop[0] is not UTF-8"}};
  for (const auto& c : cases) {
    const absl::Status status = ValidateStopStrings(c.stops);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.message));
  }
}

TEST(StopMatcherDeathTest, UncheckedStopStringsAreABug) {
  EXPECT_DEATH(StopMatcher({""}), "empty");
}

}  // namespace
}  // namespace pagoda
