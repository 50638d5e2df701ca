#include "kernels/cpu/row_ops.h"

#include <cmath>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cpu/flush_denormals.h"
#include "kernels/cpu/isa.h"
#include "tests/kernels/reference.h"

namespace pagoda::cpu {
namespace {

using reference::SameBits;

class RowOpsTest : public testing::TestWithParam<std::tuple<Isa, DType>> {
 protected:
  // A row in dtype_, widened; 16 elements behind it must survive.
  struct Out {
    explicit Out(int64_t size) : full(size + 16, -7), half(size + 16, 0x1234) {}
    void* data(DType dtype) {
      return dtype == DType::kF32 ? static_cast<void*>(full.data()) : half.data();
    }
    float at(DType dtype, int64_t i) const {
      return dtype == DType::kF32 ? full[i] : Bf16ToF32(half[i]);
    }
    void ExpectUntouchedFrom(int64_t size) const {
      for (size_t i = size; i < full.size(); ++i) {
        EXPECT_EQ(full[i], -7);
        EXPECT_EQ(half[i], 0x1234);
      }
    }
    std::vector<float> full;
    std::vector<uint16_t> half;
  };

  void AddNorm(const AddNormArgs& args) const {
    const ScopedFlushDenormals flush;
    switch (std::get<0>(GetParam())) {
      case Isa::kScalar:
        return AddNormScalar(args);
      case Isa::kAvx2:
        return AddNormAvx2(args);
      case Isa::kAvx512:
        return AddNormAvx512(args);
    }
  }
  void Rope(const RopeArgs& args) const {
    const ScopedFlushDenormals flush;
    switch (std::get<0>(GetParam())) {
      case Isa::kScalar:
        return RopeScalar(args);
      case Isa::kAvx2:
        return RopeAvx2(args);
      case Isa::kAvx512:
        return RopeAvx512(args);
    }
  }

  const DType dtype_ = std::get<1>(GetParam());
};

TEST_P(RowOpsTest, NormFollowsTheContract) {
  for (int64_t size : {1, 15, 16, 17, 100, 256, 1000}) {
    std::vector<float> residual = reference::Random(1, size, DType::kF32, size).values;
    const std::vector<float> weight = reference::Random(1, size, DType::kF32, size + 1).values;
    const std::vector<float> before = residual;
    Out out(size);
    AddNorm({.residual = residual.data(),
             .delta = nullptr,
             .weight = weight.data(),
             .size = size,
             .epsilon = 1e-5f,
             .out = out.data(dtype_),
             .dtype = dtype_});
    const std::vector<float> want = reference::RmsNorm(before, weight, 1e-5f);
    for (int64_t i = 0; i < size; ++i) {
      ASSERT_TRUE(SameBits(out.at(dtype_, i), reference::Rounded(want[i], dtype_)))
          << size << ": " << i;
    }
    EXPECT_EQ(residual, before);
    out.ExpectUntouchedFrom(size);
  }
}

TEST_P(RowOpsTest, TheDeltaIsAddedOnceAndStays) {
  constexpr int64_t kSize = 83;
  std::vector<float> residual = reference::Random(1, kSize, DType::kF32, 1).values;
  const std::vector<float> delta = reference::Random(1, kSize, DType::kF32, 2).values;
  const std::vector<float> weight(kSize, 1.5f);
  std::vector<float> sum(kSize);
  for (int64_t i = 0; i < kSize; ++i) sum[i] = residual[i] + delta[i];
  Out out(kSize);
  AddNorm({.residual = residual.data(),
           .delta = delta.data(),
           .weight = weight.data(),
           .size = kSize,
           .epsilon = 1e-6f,
           .out = out.data(dtype_),
           .dtype = dtype_});
  EXPECT_EQ(residual, sum);
  const std::vector<float> want = reference::RmsNorm(sum, weight, 1e-6f);
  for (int64_t i = 0; i < kSize; ++i) {
    EXPECT_EQ(out.at(dtype_, i), reference::Rounded(want[i], dtype_));
  }
}

TEST_P(RowOpsTest, NormIsCloseToTheFormula) {
  struct Tolerance {
    DType dtype;
    double relative;
  };
  const Tolerance tolerances[] = {{DType::kF32, 1e-6}, {DType::kBf16, 4.0e-3}};
  constexpr int64_t kSize = 512;
  std::vector<float> x = reference::Random(1, kSize, DType::kF32, 3, 4.0f).values;
  const std::vector<float> weight = reference::Random(1, kSize, DType::kF32, 4).values;
  double squares = 0;
  for (float value : x) squares += static_cast<double>(value) * value;
  Out out(kSize);
  AddNorm({.residual = x.data(),
           .delta = nullptr,
           .weight = weight.data(),
           .size = kSize,
           .epsilon = 1e-5f,
           .out = out.data(dtype_),
           .dtype = dtype_});
  for (const Tolerance& tolerance : tolerances) {
    if (tolerance.dtype != dtype_) continue;
    for (int64_t i = 0; i < kSize; ++i) {
      const double want = x[i] / std::sqrt(squares / kSize + 1e-5) * weight[i];
      EXPECT_NEAR(out.at(dtype_, i), want, std::abs(want) * tolerance.relative);
    }
  }
}

TEST_P(RowOpsTest, NormOfZerosAndOfNaN) {
  std::vector<float> x(40, 0.0f);
  const std::vector<float> weight(40, 2.0f);
  Out out(40);
  const AddNormArgs args{.residual = x.data(),
                         .delta = nullptr,
                         .weight = weight.data(),
                         .size = 40,
                         .epsilon = 1e-5f,
                         .out = out.data(dtype_),
                         .dtype = dtype_};
  AddNorm(args);
  for (int i = 0; i < 40; ++i) EXPECT_EQ(out.at(dtype_, i), 0);
  x[39] = std::numeric_limits<float>::quiet_NaN();
  AddNorm(args);
  for (int i = 0; i < 40; ++i) EXPECT_TRUE(std::isnan(out.at(dtype_, i)));
}

TEST_P(RowOpsTest, RopeFollowsTheContractAndTurnsThePlane) {
  for (int64_t head_dim : {16, 64, 80, 128}) {
    for (int64_t pairs : {head_dim / 2, head_dim / 4, int64_t{3}}) {
      constexpr int64_t kHeads = 3;
      const int64_t size = kHeads * head_dim;
      const std::vector<float> in = reference::Random(1, size, DType::kF32, head_dim).values;
      std::vector<float> cos, sin;
      for (int64_t i = 0; i < pairs; ++i) {
        cos.push_back(static_cast<float>(std::cos(0.37 * (i + 1))));
        sin.push_back(static_cast<float>(std::sin(0.37 * (i + 1))));
      }
      Out out(size);
      Rope({.in = in.data(),
            .cos = cos.data(),
            .sin = sin.data(),
            .pairs = pairs,
            .heads = kHeads,
            .head_dim = head_dim,
            .out = out.data(dtype_),
            .dtype = dtype_});
      out.ExpectUntouchedFrom(size);
      for (int64_t i = 0; i < size; ++i) {
        const int64_t d = i % head_dim, head = i - d;
        float want = in[i];
        if (d < 2 * pairs) {
          const int64_t p = d % pairs;
          const float x1 = in[head + p], x2 = in[head + p + pairs];
          want = d < pairs ? std::fma(x2, 0.0f - sin[p], x1 * cos[p])
                           : std::fma(x1, sin[p], x2 * cos[p]);
          const double exact = d < pairs ? double{x1} * cos[p] - double{x2} * sin[p]
                                         : double{x2} * cos[p] + double{x1} * sin[p];
          EXPECT_NEAR(want, exact, 1e-6);
        }
        ASSERT_TRUE(SameBits(out.at(dtype_, i), reference::Rounded(want, dtype_)))
            << "head_dim " << head_dim << " pairs " << pairs << " at " << i;
      }
    }
  }
}

TEST_P(RowOpsTest, RopeWithoutPairsOnlyRounds) {
  const std::vector<float> in = reference::Random(1, 48, DType::kF32, 5).values;
  Out out(48);
  Rope({.in = in.data(),
        .cos = nullptr,
        .sin = nullptr,
        .pairs = 0,
        .heads = 1,
        .head_dim = 48,
        .out = out.data(dtype_),
        .dtype = dtype_});
  for (int i = 0; i < 48; ++i) EXPECT_EQ(out.at(dtype_, i), reference::Rounded(in[i], dtype_));
}

INSTANTIATE_TEST_SUITE_P(Isas,
                         RowOpsTest,
                         testing::Combine(testing::ValuesIn(SupportedIsas()),
                                          testing::Values(DType::kF32, DType::kBf16)),
                         [](const auto& info) {
                           return std::string(IsaName(std::get<0>(info.param))) + "_" +
                                  DTypeName(std::get<1>(info.param));
                         });

}  // namespace
}  // namespace pagoda::cpu
