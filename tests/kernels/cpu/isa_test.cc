#include "kernels/cpu/isa.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace pagoda::cpu {
namespace {

TEST(IsaTest, ScalarIsAlwaysThereAndAutoIsTheBest) {
  const std::vector<Isa> isas = SupportedIsas();
  ASSERT_FALSE(isas.empty());
  EXPECT_EQ(isas.front(), Isa::kScalar);
  EXPECT_EQ(*ChooseIsa("auto"), isas.back());
}

TEST(IsaTest, ANameGivesItsSetOrSaysWhyNot) {
  const std::vector<Isa> isas = SupportedIsas();
  for (Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512}) {
    const auto chosen = ChooseIsa(IsaName(isa));
    if (std::find(isas.begin(), isas.end(), isa) != isas.end()) {
      ASSERT_TRUE(chosen.ok());
      EXPECT_EQ(*chosen, isa);
    } else {
      EXPECT_EQ(chosen.status().code(), absl::StatusCode::kFailedPrecondition);
    }
  }
}

TEST(IsaTest, AnUnknownNameIsRefusedWithTheChoices) {
  const absl::Status status = ChooseIsa("neon").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("auto, scalar, avx2 or avx512"));
}

}  // namespace
}  // namespace pagoda::cpu
