#include "kernels/dtype.h"

#include <bit>
#include <cmath>

#include "gtest/gtest.h"

namespace pagoda {
namespace {

TEST(DTypeTest, Bf16SurvivesARoundTrip) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = Bf16ToF32(static_cast<uint16_t>(bits));
    EXPECT_EQ(F32ToBf16(value), std::isnan(value) ? kBf16NaN : bits);
  }
}

// Against arithmetic instead of bit tricks: sign * mantissa * 2^exponent.
TEST(DTypeTest, F16IsExactForEveryPattern) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float got = F16ToF32(static_cast<uint16_t>(bits));
    const int exponent = static_cast<int>(bits >> 10 & 0x1f);
    const int mantissa = static_cast<int>(bits & 0x3ff);
    const float sign = bits & 0x8000 ? -1.0f : 1.0f;
    if (exponent == 0x1f) {
      EXPECT_EQ(std::isnan(got), mantissa != 0);
      if (mantissa == 0) {
        EXPECT_EQ(got, sign * INFINITY);
      }
      continue;
    }
    const float want = exponent == 0 ? sign * std::ldexp(static_cast<float>(mantissa), -24)
                                     : sign * std::ldexp(1024.0f + mantissa, exponent - 25);
    EXPECT_EQ(std::bit_cast<uint32_t>(got), std::bit_cast<uint32_t>(want)) << std::hex << bits;
  }
}

TEST(DTypeTest, SizesAndNames) {
  EXPECT_EQ(DTypeSize(DType::kF32), 4u);
  EXPECT_EQ(DTypeSize(DType::kBf16), 2u);
  EXPECT_EQ(DTypeSize(DType::kF16), 2u);
  EXPECT_STREQ(DTypeName(DType::kBf16), "bfloat16");
}

}  // namespace
}  // namespace pagoda
