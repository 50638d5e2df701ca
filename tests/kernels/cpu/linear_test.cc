// The linear kernel against the naive contract, bit for bit, and against double within a tolerance.
#include "kernels/cpu/linear.h"

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "common/check.h"
#include "gtest/gtest.h"
#include "kernels/cpu/flush_denormals.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/weights.h"
#include "tests/kernels/reference.h"

namespace pagoda::cpu {
namespace {

using reference::Matrix;
using reference::SameBits;

LinearFn KernelOf(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return LinearScalar;
    case Isa::kAvx2:
      return LinearAvx2;
    case Isa::kAvx512:
      return LinearAvx512;
  }
  return nullptr;
}

// Weights in host memory, and packed.
struct Weights {
  std::vector<Matrix> parts;
  std::vector<Matrix> biases;
  std::unique_ptr<CpuLinear> packed;

  Weights(const LinearSpec& spec,
          std::vector<Matrix> weights,
          std::vector<Matrix> bias_vectors = {})
      : parts(std::move(weights)), biases(std::move(bias_vectors)) {
    std::vector<std::vector<std::byte>> bytes;
    std::vector<HostTensor> tensors, bias_tensors;
    for (const Matrix& part : parts) {
      bytes.push_back(reference::Encode(part, spec.dtype));
      tensors.push_back({bytes.back().data(), spec.dtype, part.rows, part.cols, part.cols});
    }
    for (const Matrix& bias : biases) {
      bytes.push_back(reference::Encode(bias, DType::kF32));
      bias_tensors.push_back({bytes.back().data(), DType::kF32, 1, bias.cols, bias.cols});
    }
    ThreadTeam team(1);
    auto linear = PackCpuLinear(spec, tensors, bias_tensors, &team);
    CHECK_OK(linear);
    packed = *std::move(linear);
  }
};

// y in f32, or the weight's dtype widened; rows are padded to see that nothing is written behind.
Matrix Multiply(LinearFn kernel,
                const PackedLinear& weight,
                const Matrix& x,
                const std::vector<int32_t>& rows = {},
                int64_t split = 0) {
  const std::vector<std::byte> bytes = reference::Encode(x, weight.dtype);
  const int64_t count = rows.empty() ? x.rows : static_cast<int64_t>(rows.size());
  const bool half = weight.epilogue == Epilogue::kSiluMul && weight.dtype == DType::kBf16;
  const int64_t stride = weight.out + 5;
  std::vector<float> full(count * stride, -7);
  std::vector<uint16_t> narrow(count * stride, 0x1234);
  std::vector<float> scratch(LinearScratchFloats(weight.padded_in) + 16,
                             std::numeric_limits<float>::quiet_NaN());
  LinearArgs args{.weight = &weight,
                  .x = bytes.data(),
                  .x_stride = x.cols,
                  .x_row = rows.empty() ? nullptr : rows.data(),
                  .y = half ? static_cast<void*>(narrow.data()) : full.data(),
                  .y_stride = stride,
                  .rows = count,
                  .panel_begin = 0,
                  .panel_end = split,
                  .scratch = scratch.data()};
  const ScopedFlushDenormals flush;
  if (split > 0) kernel(args);
  args.panel_begin = split;
  args.panel_end = weight.panels;
  kernel(args);
  Matrix y{count, weight.out, std::vector<float>(count * weight.out)};
  for (int64_t m = 0; m < count; ++m) {
    for (int64_t n = 0; n < stride; ++n) {
      const int64_t at = m * stride + n;
      if (n < weight.out) {
        y.at(m, n) = half ? Bf16ToF32(narrow[at]) : full[at];
      } else {
        EXPECT_EQ(half ? narrow[at] : full[at], half ? 0x1234 : -7) << "written behind row " << m;
      }
    }
  }
  return y;
}

float Reference(const Weights& weights, const Matrix& x, int64_t row, size_t part, int64_t n) {
  const ScopedFlushDenormals flush;
  const float* a = &x.values[row * x.cols];
  const float* b = &weights.parts[part].values[n * x.cols];
  const float sum = reference::SlicedDot(a, b, x.cols, weights.packed->packed().slices);
  return weights.biases.empty() ? sum : sum + weights.biases[part].values[n];
}

void ExpectContract(const Weights& weights, const Matrix& x, const Matrix& y) {
  const PackedLinear& packed = weights.packed->packed();
  const ScopedFlushDenormals flush;
  for (int64_t m = 0; m < y.rows; ++m) {
    int64_t col = 0;
    if (packed.epilogue == Epilogue::kSiluMul) {
      for (; col < y.cols; ++col) {
        const float want = reference::Rounded(
            reference::SiluMul(Reference(weights, x, m, 0, col), Reference(weights, x, m, 1, col)),
            packed.dtype);
        ASSERT_TRUE(SameBits(y.at(m, col), want))
            << m << ", " << col << ": " << y.at(m, col) << " instead of " << want;
      }
      continue;
    }
    for (size_t part = 0; part < weights.parts.size(); ++part) {
      for (int64_t n = 0; n < weights.parts[part].rows; ++n, ++col) {
        const float want = Reference(weights, x, m, part, n);
        ASSERT_TRUE(SameBits(y.at(m, col), want))
            << m << ", " << col << ": " << y.at(m, col) << " instead of " << want;
      }
    }
  }
}

class LinearTest : public testing::TestWithParam<std::tuple<Isa, DType>> {
 protected:
  const LinearFn kernel_ = KernelOf(std::get<0>(GetParam()));
  const DType dtype_ = std::get<1>(GetParam());

  Weights Column(int64_t in, int64_t out, uint64_t seed = 1) const {
    return Weights({.in = in, .dtype = dtype_}, {reference::Random(out, in, dtype_, seed)});
  }
};

TEST_P(LinearTest, EveryShapeHasTheContractsBits) {
  for (int64_t in : {1, 31, 32, 33, 96, 544}) {
    for (int64_t out : {1, 16, 17, 47, 80}) {
      const Weights weights = Column(in, out);
      for (int64_t rows : {1, 5, 6, 13}) {
        const Matrix x = reference::Random(rows, in, dtype_, 2);
        SCOPED_TRACE(testing::Message() << rows << " x " << in << " x " << out);
        ExpectContract(weights, x, Multiply(kernel_, weights.packed->packed(), x));
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(LinearTest, MoreRowsThanOneBlockHaveTheContractsBits) {
  const Weights weights = Column(64, 40);
  const Matrix x = reference::Random(2 * kLinearRows + 7, 64, dtype_, 3);
  ExpectContract(weights, x, Multiply(kernel_, weights.packed->packed(), x));
}

TEST_P(LinearTest, RunsOfStepsLeaveTheSumsAlone) {
  // Rows of more than one tile are taken in runs of 128 k, fewer at one go.
  const Weights weights = Column(1120, 33);
  const Matrix x = reference::Random(14, 1120, dtype_, 4);
  ExpectContract(weights, x, Multiply(kernel_, weights.packed->packed(), x));
}

TEST_P(LinearTest, RowParallelSlicesAreAddedByTheTree) {
  struct Case {
    int64_t in;
    int slices;
  };
  for (const Case& test : {Case{256, 8}, {768, 8}, {128, 4}, {192, 2}, {96, 1}, {100, 1}}) {
    const Weights weights({.in = test.in, .dtype = dtype_, .partition = Partition::kRow},
                          {reference::Random(35, test.in, dtype_, 5)});
    EXPECT_EQ(weights.packed->packed().slices, test.slices) << test.in;
    for (int64_t rows : {1, 9}) {
      const Matrix x = reference::Random(rows, test.in, dtype_, 6);
      ExpectContract(weights, x, Multiply(kernel_, weights.packed->packed(), x));
    }
  }
}

// What an all-reduce adds: the ranks' subtrees, by the upper levels of the tree.
TEST_P(LinearTest, TheSubtreesOfTheRanksAddUpToTheTree) {
  constexpr int64_t kIn = 512, kOut = 24;
  const Matrix w = reference::Random(kOut, kIn, dtype_, 7);
  const Matrix x = reference::Random(7, kIn, dtype_, 8);
  const LinearSpec whole{.in = kIn, .dtype = dtype_, .partition = Partition::kRow};
  const Matrix want = Multiply(kernel_, Weights(whole, {w}).packed->packed(), x);
  for (int ranks : {2, 4, 8}) {
    const int64_t in = kIn / ranks;
    std::vector<Matrix> partial;
    for (int rank = 0; rank < ranks; ++rank) {
      Matrix shard{kOut, in, {}}, part{x.rows, in, {}};
      for (int64_t n = 0; n < kOut; ++n) {
        for (int64_t k = 0; k < in; ++k) shard.values.push_back(w.at(n, rank * in + k));
      }
      for (int64_t m = 0; m < x.rows; ++m) {
        for (int64_t k = 0; k < in; ++k) part.values.push_back(x.at(m, rank * in + k));
      }
      LinearSpec spec = whole;
      spec.in = in;
      spec.tp_size = ranks;
      partial.push_back(Multiply(kernel_, Weights(spec, {shard}).packed->packed(), part));
    }
    for (; partial.size() > 1; partial.resize(partial.size() / 2)) {
      for (size_t pair = 0; pair < partial.size() / 2; ++pair) {
        for (size_t i = 0; i < partial[pair].values.size(); ++i) {
          const float left = partial[2 * pair].values[i];
          partial[pair].values[i] = left + partial[2 * pair + 1].values[i];
        }
      }
    }
    EXPECT_EQ(partial[0].values, want.values) << ranks << " ranks";
  }
}

TEST_P(LinearTest, FusedPartsAndBiases) {
  const LinearSpec spec{.in = 72, .dtype = dtype_};
  const Weights weights(spec,
                        {reference::Random(20, 72, dtype_, 9),
                         reference::Random(7, 72, dtype_, 10),
                         reference::Random(9, 72, dtype_, 11)},
                        {reference::Random(1, 20, DType::kF32, 12),
                         reference::Random(1, 7, DType::kF32, 13),
                         reference::Random(1, 9, DType::kF32, 14)});
  const Matrix x = reference::Random(8, 72, dtype_, 15);
  ExpectContract(weights, x, Multiply(kernel_, weights.packed->packed(), x));
}

TEST_P(LinearTest, SiluMulEpilogue) {
  for (int64_t out : {1, 16, 23, 90}) {
    const LinearSpec spec{.in = 64, .dtype = dtype_, .epilogue = Epilogue::kSiluMul};
    const Weights weights(
        spec,
        {reference::Random(out, 64, dtype_, 16), reference::Random(out, 64, dtype_, 17)});
    const Matrix x = reference::Random(7, 64, dtype_, 18);
    EXPECT_EQ(weights.packed->out(), out);
    ExpectContract(weights, x, Multiply(kernel_, weights.packed->packed(), x));
  }
}

TEST_P(LinearTest, SpecialValuesStayInTheirRowAndFollowTheContract) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const Weights weights = Column(64, 33, 19);
  Matrix x = reference::Random(8, 64, dtype_, 20);
  x.at(1, 5) = std::numeric_limits<float>::quiet_NaN();
  x.at(3, 7) = kInf;
  x.at(4, 7) = kInf;
  x.at(4, 8) = -kInf;
  for (int64_t k = 0; k < 64; ++k) x.at(6, k) = reference::Rounded(x.at(6, k) * 1e-38f, dtype_);
  const Matrix y = Multiply(kernel_, weights.packed->packed(), x);
  ExpectContract(weights, x, y);
  for (int64_t n = 0; n < 33; ++n) {
    EXPECT_TRUE(std::isnan(y.at(1, n)));
    EXPECT_FALSE(std::isfinite(y.at(3, n)));
    EXPECT_TRUE(std::isfinite(y.at(2, n)));
    EXPECT_TRUE(std::isfinite(y.at(5, n)));
  }
}

TEST_P(LinearTest, DenormalProductsAreFlushed) {
  // 2^-70 * 2^-70 would be a denormal; so would a sum kept in it.
  Matrix w{16, 32, std::vector<float>(16 * 32, 0x1p-70f)};
  Matrix x{1, 32, std::vector<float>(32, 0x1p-70f)};
  const Weights weights({.in = 32, .dtype = dtype_}, {w});
  for (float value : Multiply(kernel_, weights.packed->packed(), x).values) EXPECT_EQ(value, 0);
}

TEST_P(LinearTest, ARowIsTheSameAloneInABatchAndGathered) {
  const Weights weights = Column(160, 50, 21);
  const Matrix x = reference::Random(20, 160, dtype_, 22);
  const Matrix batch = Multiply(kernel_, weights.packed->packed(), x);
  for (int32_t row : {0, 5, 6, 19}) {
    Matrix alone{1, 160, {x.values.begin() + row * 160, x.values.begin() + (row + 1) * 160}};
    const Matrix y = Multiply(kernel_, weights.packed->packed(), alone);
    for (int64_t n = 0; n < 50; ++n) EXPECT_EQ(y.at(0, n), batch.at(row, n));
  }
  const std::vector<int32_t> rows = {19, 3, 3, 0, 11, 7, 8, 9};
  const Matrix gathered = Multiply(kernel_, weights.packed->packed(), x, rows);
  for (size_t i = 0; i < rows.size(); ++i) {
    for (int64_t n = 0; n < 50; ++n) {
      EXPECT_EQ(gathered.at(static_cast<int64_t>(i), n), batch.at(rows[i], n));
    }
  }
}

TEST_P(LinearTest, HowPanelsAreDividedChangesNothing) {
  const Weights weights = Column(96, 176, 23);
  const Matrix x = reference::Random(9, 96, dtype_, 24);
  const Matrix want = Multiply(kernel_, weights.packed->packed(), x);
  for (int64_t split : {2, 4, 6, 10}) {
    EXPECT_EQ(Multiply(kernel_, weights.packed->packed(), x, {}, split).values, want.values)
        << split;
  }
}

TEST_P(LinearTest, IsCloseToTheExactSum) {
  // Error of a chain of 16, relative to the sum of magnitudes; inputs are exact in their dtype.
  struct Tolerance {
    DType dtype;
    double relative;
  };
  const Tolerance tolerances[] = {{DType::kF32, 2e-6}, {DType::kBf16, 2e-6}};
  const Weights weights = Column(2048, 19, 25);
  const Matrix x = reference::Random(3, 2048, dtype_, 26);
  const Matrix y = Multiply(kernel_, weights.packed->packed(), x);
  for (const Tolerance& tolerance : tolerances) {
    if (tolerance.dtype != dtype_) continue;
    for (int64_t m = 0; m < 3; ++m) {
      for (int64_t n = 0; n < 19; ++n) {
        const float* a = &x.values[m * 2048];
        const float* b = &weights.parts[0].values[n * 2048];
        double magnitude = 0;
        for (int k = 0; k < 2048; ++k) magnitude += std::abs(static_cast<double>(a[k]) * b[k]);
        EXPECT_NEAR(y.at(m, n), reference::DotDouble(a, b, 2048), tolerance.relative * magnitude);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isas,
                         LinearTest,
                         testing::Combine(testing::ValuesIn(SupportedIsas()),
                                          testing::Values(DType::kF32, DType::kBf16)),
                         [](const auto& info) {
                           return std::string(IsaName(std::get<0>(info.param))) + "_" +
                                  DTypeName(std::get<1>(info.param));
                         });

}  // namespace
}  // namespace pagoda::cpu
