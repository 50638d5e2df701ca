#include "common/status.h"

#include <memory>
#include <string>

#include "gtest/gtest.h"

namespace pagoda {
namespace {

absl::Status FailIf(bool fail) {
  return fail ? absl::ResourceExhaustedError("pool has 4 blocks, 5 asked") : absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<int>> Make(int value) {
  if (value < 0) return absl::InvalidArgumentError("negative");
  return std::make_unique<int>(value);
}

absl::Status CountUnless(bool fail, int* reached) {
  RETURN_IF_ERROR(FailIf(fail));
  ++*reached;
  return absl::OkStatus();
}

absl::StatusOr<int> Sum(int a, int b) {
  ASSIGN_OR_RETURN(const std::unique_ptr<int> first, Make(a));
  std::unique_ptr<int> second;
  ASSIGN_OR_RETURN(second, Make(b));
  RETURN_IF_ERROR(FailIf(*first + *second > 100));
  return *first + *second;
}

TEST(StatusTest, ReturnIfErrorLeavesOnErrorOnly) {
  int reached = 0;
  EXPECT_EQ(CountUnless(true, &reached),
            absl::ResourceExhaustedError("pool has 4 blocks, 5 asked"));
  EXPECT_EQ(reached, 0);
  EXPECT_TRUE(CountUnless(false, &reached).ok());
  EXPECT_EQ(reached, 1);
}

TEST(StatusTest, AssignOrReturnMovesTheValueOrReturnsTheError) {
  EXPECT_EQ(Sum(2, 3).value(), 5);
  EXPECT_EQ(Sum(-1, 3).status(), absl::InvalidArgumentError("negative"));
  EXPECT_EQ(Sum(2, -3).status(), absl::InvalidArgumentError("negative"));
  EXPECT_EQ(Sum(60, 50).status().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace pagoda
