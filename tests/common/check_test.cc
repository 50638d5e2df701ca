#include "common/check.h"

#include <csignal>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"

namespace pagoda {
namespace {

enum class Colour : uint8_t { kRed = 3, kBlue = 7 };

struct Opaque {
  int value;
  bool operator==(const Opaque&) const = default;
};

TEST(CheckDeathTest, FailurePrintsPlaceConditionAndMessage) {
  EXPECT_DEATH(CHECK(1 + 1 == 3) << "sum of " << 2,
               R"(check_test\.cc:[0-9]+: CHECK\(1 \+ 1 == 3\) failed\. sum of 2)");
}

TEST(CheckDeathTest, FailureAborts) {
  EXPECT_EXIT(CHECK(false), testing::KilledBySignal(SIGABRT), "CHECK");
  EXPECT_EXIT(CHECK_EQ(1, 2), testing::KilledBySignal(SIGABRT), "CHECK");
}

TEST(CheckDeathTest, ComparisonPrintsBothValues) {
  const int held = 4;
  EXPECT_DEATH(CHECK_EQ(held, 5), R"(CHECK\(held == 5\) \(4 vs\. 5\) failed\.)");
  EXPECT_DEATH(CHECK_NE(held, 4), R"(CHECK\(held != 4\) \(4 vs\. 4\))");
  EXPECT_DEATH(CHECK_LT(held, 4), R"(CHECK\(held < 4\) \(4 vs\. 4\))");
  EXPECT_DEATH(CHECK_LE(held, 3), R"(CHECK\(held <= 3\) \(4 vs\. 3\))");
  EXPECT_DEATH(CHECK_GT(held, 4), R"(CHECK\(held > 4\) \(4 vs\. 4\))");
  EXPECT_DEATH(CHECK_GE(held, 5), R"(CHECK\(held >= 5\) \(4 vs\. 5\))");
}

TEST(CheckDeathTest, ValuesPrintByKind) {
  const uint8_t small = 65;  // a number, not 'A'
  EXPECT_DEATH(CHECK_EQ(small, 66), R"(\(65 vs\. 66\))");
  EXPECT_DEATH(CHECK_EQ(Colour::kRed, Colour::kBlue), R"(\(3 vs\. 7\))");
  EXPECT_DEATH(CHECK_EQ(std::string("a"), "b"), R"(\(a vs\. b\))");
  EXPECT_DEATH(CHECK_EQ(true, false), R"(\(1 vs\. 0\))");
  EXPECT_DEATH(CHECK_EQ(Opaque{1}, Opaque{2}), R"(\(\(4 bytes\) vs\. \(4 bytes\)\))");
  const int x = 0;
  EXPECT_DEATH(CHECK_EQ(&x, nullptr), R"(\(0x[0-9a-f]+ vs\. nullptr\))");
}

TEST(CheckDeathTest, IntegersOfDifferentSignCompareByValue) {
  const std::vector<int> two(2);
  CHECK_LT(-1, two.size());
  CHECK_EQ(two.size(), 2);
  EXPECT_DEATH(CHECK_EQ(-1, UINT32_MAX), R"(\(-1 vs\. 4294967295\))");
  EXPECT_DEATH(CHECK_GT(-1, two.size()), R"(\(-1 vs\. 2\))");
}

TEST(CheckDeathTest, CheckOkPrintsTheStatus) {
  EXPECT_DEATH(CHECK_OK(absl::NotFoundError("no such block")) << "while freeing",
               R"(CHECK_OK\(.*\) \(NOT_FOUND: no such block\) failed\. while freeing)");
  EXPECT_DEATH(CHECK_OK(absl::StatusOr<int>(absl::InternalError("broken"))), "INTERNAL: broken");
  CHECK_OK(absl::OkStatus());
  CHECK_OK(absl::StatusOr<int>(3));
}

TEST(CheckTest, OperandsAreEvaluatedOnceAndTheMessageOnlyOnFailure) {
  int evaluated = 0;
  int streamed = 0;
  const auto next = [&] { return ++evaluated; };
  const auto message = [&] { return ++streamed; };
  CHECK(next() == 1) << message();
  CHECK_EQ(next(), 2) << message();
  CHECK_OK((next(), absl::OkStatus())) << message();
  EXPECT_EQ(evaluated, 3);
  EXPECT_EQ(streamed, 0);
}

TEST(CheckTest, IsOneStatement) {
  bool other_branch = false;
  if (!other_branch)
    CHECK_EQ(1, 1);
  else
    other_branch = true;
  if (other_branch)
    CHECK(false);
  else
    other_branch = true;
  EXPECT_TRUE(other_branch);
}

constexpr int Half(int x) {
  CHECK(x >= 0);
  CHECK_EQ(x % 2, 0);
  return x / 2;
}
static_assert(Half(4) == 2, "a passing CHECK may stand in a constant expression");

}  // namespace
}  // namespace pagoda
