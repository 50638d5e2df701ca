// Every operation of the 16-lane vector gives the bits of the scalar definition, on every
// instruction set that this machine has.
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cpu/flush_denormals.h"
#include "kernels/cpu/isa.h"
#include "tests/kernels/cpu/simd_ops.h"
#include "tests/kernels/reference.h"

namespace pagoda::cpu {
namespace {

using reference::SameBits;

const SimdOps& OpsOf(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return kSimdOpsScalar;
    case Isa::kAvx2:
      return kSimdOpsAvx2;
    case Isa::kAvx512:
      return kSimdOpsAvx512;
  }
  return kSimdOpsScalar;
}

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Any bit pattern, or a value that is special to some operation.
float AnyFloat(std::mt19937_64& generator) {
  static const float kSpecial[] = {0.0f,    -0.0f,   1.0f,   -1.0f,  kInf,        -kInf,  kNaN,
                                   1e-38f,  -1e-39f, 1e-45f, 3e38f,  -3e38f,      -86.5f, -86.4999f,
                                   88.722f, 88.73f,  89.0f,  -90.0f, 0.34657359f, 1e-20f, -2e19f};
  const uint64_t draw = generator();
  if (draw % 3 == 0) return kSpecial[(draw >> 8) % std::size(kSpecial)];
  if (draw % 3 == 1) return std::bit_cast<float>(static_cast<uint32_t>(draw >> 32));
  return static_cast<float>(static_cast<int32_t>(draw >> 32)) * 0x1p-24f;
}

class SimdTest : public testing::TestWithParam<Isa> {
 protected:
  const SimdOps& ops_ = OpsOf(GetParam());
  const ScopedFlushDenormals flush_;
  std::mt19937_64 generator_{7};
};

TEST_P(SimdTest, EveryOperationHasTheScalarBits) {
  for (int round = 0; round < 2000; ++round) {
    float a[16], b[16], c[16];
    for (int i = 0; i < 16; ++i) {
      a[i] = AnyFloat(generator_);
      b[i] = AnyFloat(generator_);
      c[i] = AnyFloat(generator_);
    }
    const int n = static_cast<int>(generator_() % 17);
    for (int op = 0; op < kNumSimdOps; ++op) {
      float want[16], got[16];
      kSimdOpsScalar.run(static_cast<SimdOp>(op), a, b, c, n, want);
      ops_.run(static_cast<SimdOp>(op), a, b, c, n, got);
      for (int i = 0; i < 16; ++i) {
        ASSERT_TRUE(SameBits(got[i], want[i]))
            << "op " << op << " lane " << i << " of " << a[i] << ", " << b[i] << ", " << c[i]
            << ", n " << n << ": " << got[i] << " instead of " << want[i];
      }
    }
  }
}

TEST_P(SimdTest, DenormalsAreFlushedInAndOut) {
  float tiny[16], one[16], half[16], zero[16], normal[16], out[16];
  for (int i = 0; i < 16; ++i) {
    tiny[i] = 1e-39f;
    one[i] = 1;
    half[i] = 0.5f;
    zero[i] = 0;
    normal[i] = 0x1p-126f;
  }
  ops_.run(SimdOp::kMul, tiny, one, zero, 0, out);
  EXPECT_TRUE(SameBits(out[3], 0));
  ops_.run(SimdOp::kMul, normal, half, zero, 0, out);
  EXPECT_TRUE(SameBits(out[3], 0));
  ops_.run(SimdOp::kFma, normal, half, zero, 0, out);
  EXPECT_TRUE(SameBits(out[3], 0));
  ops_.run(SimdOp::kFma, tiny, one, normal, 0, out);
  EXPECT_TRUE(SameBits(out[3], 0x1p-126f));
}

TEST_P(SimdTest, FmaRoundsOnce) {
  float a[16], c[16], out[16];
  for (int i = 0; i < 16; ++i) {
    a[i] = 1 + 0x1p-12f;
    c[i] = -1;
  }
  ops_.run(SimdOp::kFma, a, a, c, 0, out);
  for (float value : out) EXPECT_EQ(value, 0x1p-11f + 0x1p-24f);
}

TEST_P(SimdTest, ReduceAddFollowsTheLaneTree) {
  // Any other order of these would give another sum.
  float a[16];
  for (int i = 0; i < 16; ++i) a[i] = std::ldexp(1.0f, (i * 7) % 16 * 3) * (i % 3 == 0 ? -1 : 1);
  float tree[16];
  std::copy(a, a + 16, tree);
  for (int half : {8, 4, 2, 1}) {
    for (int i = 0; i < half; ++i) tree[i] += tree[i + half];
  }
  float out[16];
  ops_.run(SimdOp::kReduceAdd, a, a, a, 0, out);
  EXPECT_TRUE(SameBits(out[0], tree[0])) << out[0] << " instead of " << tree[0];
}

TEST_P(SimdTest, Bf16RoundsToNearestEvenAndNaNStaysNaN) {
  struct Case {
    float in;
    uint16_t out;
  };
  const Case cases[] = {{1.0f, 0x3f80},
                        {std::bit_cast<float>(0x3f808000u), 0x3f80},    // tie to even, down
                        {std::bit_cast<float>(0x3f818000u), 0x3f82},    // tie to even, up
                        {std::bit_cast<float>(0x3f808001u), 0x3f81},    // above the tie
                        {std::bit_cast<float>(0x7f7fffffu), 0x7f80},    // overflow
                        {std::bit_cast<float>(0x7f800001u), kBf16NaN},  // signalling, low payload
                        {std::bit_cast<float>(0xffffffffu), kBf16NaN},
                        {-kInf, 0xff80},
                        {-0.0f, 0x8000},
                        {std::bit_cast<float>(0x00018000u), 0x0002},  // denormals are only rounded
                        {0x1p-126f, 0x0080}};
  for (const Case& test : cases) {
    float in[16];
    for (float& value : in) value = test.in;
    uint16_t out[16];
    ops_.store_bf16(in, 16, out);
    for (uint16_t bits : out) EXPECT_EQ(bits, test.out) << test.in;
  }
}

TEST_P(SimdTest, PartialStoresLeaveTheRestAlone) {
  for (int n = 0; n <= 16; ++n) {
    float in[16], out[16];
    uint16_t half[16];
    for (int i = 0; i < 16; ++i) {
      in[i] = static_cast<float>(i + 1);
      out[i] = -7;
      half[i] = 0x1234;
    }
    ops_.store(in, n, out);
    ops_.store_bf16(in, n, half);
    for (int i = 0; i < 16; ++i) {
      EXPECT_EQ(out[i], i < n ? in[i] : -7);
      EXPECT_EQ(half[i], i < n ? F32ToBf16(in[i]) : 0x1234);
    }
    float back[16];
    ops_.load_bf16(half, n, back);
    for (int i = 0; i < 16; ++i) EXPECT_EQ(back[i], i < n ? in[i] : 0);
  }
}

// The memory behind a partial load belongs to somebody else; under AddressSanitizer this is exact.
TEST_P(SimdTest, PartialLoadsReadNothingBehind) {
  for (int n = 0; n <= 16; ++n) {
    const std::vector<float> full(n, 2.0f);
    const std::vector<uint16_t> half(n, 0x4000);
    float out[16];
    ops_.run(SimdOp::kAdd,
             std::vector<float>(16, 1.0f).data(),
             std::vector<float>(16).data(),
             std::vector<float>(16).data(),
             0,
             out);
    ops_.load_bf16(half.data(), n, out);
    for (int i = 0; i < 16; ++i) EXPECT_EQ(out[i], i < n ? 2.0f : 0.0f);
  }
}

TEST_P(SimdTest, PairsSeparateEvenFromOdd) {
  uint16_t half[32];
  float full[32], even[16], odd[16];
  for (int i = 0; i < 32; ++i) {
    half[i] = F32ToBf16(static_cast<float>(i));
    full[i] = static_cast<float>(i);
  }
  ops_.load_pairs_bf16(half, even, odd);
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(even[i], 2 * i);
    EXPECT_EQ(odd[i], 2 * i + 1);
  }
  ops_.load_pairs_f32(full, even, odd);
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(even[i], i);
    EXPECT_EQ(odd[i], 16 + i);
  }
}

TEST_P(SimdTest, ExpFollowsTheContractAndTheFunction) {
  double worst = 0;
  for (int step = -91'000; step < 91'000; step += 13) {
    float in[16], out[16];
    for (int i = 0; i < 16; ++i) in[i] = static_cast<float>(step) * 1e-3f + i * 7e-4f;
    ops_.run(SimdOp::kExp, in, in, in, 0, out);
    for (int i = 0; i < 16; ++i) {
      ASSERT_TRUE(SameBits(out[i], reference::Exp(in[i]))) << in[i];
      if (in[i] < -86.5f || in[i] > 88.72f) continue;
      worst = std::max(worst, std::abs(out[i] / std::exp(static_cast<double>(in[i])) - 1));
    }
  }
  EXPECT_LT(worst, 1e-7);
}

TEST_P(SimdTest, ExpOfTheEdges) {
  const float in[16] = {-kInf, kInf, kNaN, 0, -0.0f, 88.8f, -86.6f, 1e30f, -1e30f, 1e-45f};
  float out[16];
  ops_.run(SimdOp::kExp, in, in, in, 0, out);
  EXPECT_TRUE(SameBits(out[0], 0));
  EXPECT_EQ(out[1], kInf);
  EXPECT_TRUE(std::isnan(out[2]));
  EXPECT_EQ(out[3], 1);
  EXPECT_EQ(out[4], 1);
  EXPECT_EQ(out[5], kInf);
  EXPECT_TRUE(SameBits(out[6], 0));
  EXPECT_EQ(out[7], kInf);
  EXPECT_TRUE(SameBits(out[8], 0));
  EXPECT_EQ(out[9], 1);
}

INSTANTIATE_TEST_SUITE_P(Isas, SimdTest, testing::ValuesIn(SupportedIsas()), [](const auto& info) {
  return std::string(IsaName(info.param));
});

}  // namespace
}  // namespace pagoda::cpu
