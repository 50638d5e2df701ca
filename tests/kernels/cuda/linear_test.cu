// The linear kernels against the naive references, and a row against itself in other company.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/cuda/linear.h"
#include "tests/kernels/cuda/device_array.h"
#include "tests/kernels/reference.h"

namespace pagoda::cuda {
namespace {

using reference::Matrix;
using reference::SameBits;

// Of x and W; each sum is of about 1.
constexpr float kScale = 1;
// |error| of a sum of K products of bf16 values, as a share of the root of K.
constexpr double kTolerance = 2e-6;

int32_t RoundUp(int32_t value, int32_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

struct Case {
  DType dtype = DType::kBf16;
  Epilogue epilogue = Epilogue::kStore;
  int32_t slices = 1;
  int32_t in = 0;
  int32_t out = 0;
  bool has_bias = false;
};

// A weight on the device, and what it was made of.
class Weight {
 public:
  Weight(const Case& c, const Stream& stream) : case_(c) {
    const int parts = c.epilogue == Epilogue::kSiluMul ? 2 : 1;
    packed_.dtype = c.dtype;
    packed_.epilogue = c.epilogue;
    packed_.in = c.in;
    packed_.slices = c.slices;
    packed_.slice = c.in / c.slices;
    packed_.depth = RoundUp(packed_.slice, kLinearDepth);
    packed_.out = c.out;
    packed_.columns = RoundUp(RoundUp(c.out, 8) * parts, kLinearColumns);
    std::vector<std::byte> bytes(packed_.Bytes());
    std::vector<float> bias(packed_.columns);
    for (int part = 0; part < parts; ++part) {
      w_.push_back(reference::Random(c.out, c.in, c.dtype, 10 + part, kScale));
      bias_.push_back(reference::Random(1, c.out, DType::kF32, 20 + part, kScale));
      const std::vector<std::byte> source = reference::Encode(w_[part], c.dtype);
      const size_t size = DTypeSize(c.dtype);
      for (int32_t column = 0; column < c.out; ++column) {
        const int32_t packed = PackedColumn(packed_, column, part);
        bias[packed] = bias_[part].values[column];
        for (int32_t k = 0; k < c.in; ++k) {
          std::memcpy(&bytes[PackedOffset(packed_, packed, k) * size],
                      &source[(int64_t{column} * c.in + k) * size],
                      size);
        }
      }
    }
    data_.emplace(bytes, stream);
    device_bias_.emplace(bias, stream);
    packed_.data = data_->data();
    packed_.bias = c.has_bias ? device_bias_->data() : nullptr;
  }

  const PackedLinear& packed() const { return packed_; }

  // What x (a row) should give; `exact`: by the contract's chains, else in double.
  double Want(const float* x, int32_t column, bool exact) const {
    float sums[2] = {};
    for (size_t part = 0; part < w_.size(); ++part) {
      const float* const w = &w_[part].values[int64_t{column} * case_.in];
      sums[part] = exact ? reference::SlicedDot(x, w, case_.in, case_.slices)
                         : static_cast<float>(reference::DotDouble(x, w, case_.in));
      if (case_.has_bias) sums[part] += bias_[part].values[column];
    }
    if (case_.epilogue == Epilogue::kStore) return sums[0];
    return reference::SiluMul(sums[0], sums[1]);
  }

 private:
  const Case case_;
  PackedLinear packed_;
  std::vector<Matrix> w_, bias_;
  std::optional<DeviceArray<std::byte>> data_;
  std::optional<DeviceArray<float>> device_bias_;
};

// Rows of x apart from each other, NaN between them.
Matrix Apart(const Matrix& x) {
  Matrix wide{x.rows, RoundUp(static_cast<int32_t>(x.cols), 8) + 8, {}};
  wide.values.assign(wide.rows * wide.cols, NAN);
  for (int64_t row = 0; row < x.rows; ++row) {
    for (int64_t col = 0; col < x.cols; ++col) wide.at(row, col) = x.at(row, col);
  }
  return wide;
}

// [rows, out] as floats. Rows of y lie apart too.
std::vector<float> RunRows(const Weight& weight,
                           const Matrix& x,
                           const std::vector<int32_t>& x_row,
                           const Stream& stream) {
  const PackedLinear& packed = weight.packed();
  const int32_t rows = static_cast<int32_t>(x_row.size());
  const bool is_bf16 = packed.dtype == DType::kBf16 && packed.epilogue == Epilogue::kSiluMul;
  const Matrix wide = Apart(x);
  const DeviceArray<std::byte> device_x(reference::Encode(wide, packed.dtype), stream);
  const DeviceArray<int32_t> device_row(x_row, stream);
  const int64_t y_stride = packed.out + 1;
  const DeviceArray<std::byte> y(
      std::vector<std::byte>(rows * y_stride * (is_bf16 ? 2 : 4), std::byte{0x77}),
      stream);
  LinearArgs args;
  args.weight = packed;
  args.x = device_x.data();
  args.x_stride = wide.cols;
  args.x_row = device_row.data();
  args.y = y.data();
  args.y_stride = y_stride;
  args.rows = rows;
  CHECK_EQ(RunLinear(args, stream.get()), cudaSuccess);
  const std::vector<std::byte> bytes = y.Download();
  std::vector<float> out;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t col = 0; col < y_stride; ++col) {
      const int64_t at = row * y_stride + col;
      float value = 0;
      uint16_t half = 0;
      std::memcpy(&value, &bytes[at * (is_bf16 ? 2 : 4)], is_bf16 ? 2 : 4);
      std::memcpy(&half, &bytes[at * (is_bf16 ? 2 : 4)], 2);
      if (is_bf16) value = Bf16ToF32(half);
      if (col < packed.out) {
        out.push_back(value);
      } else {
        EXPECT_EQ(half, 0x7777);  // nothing is written between rows
      }
    }
  }
  return out;
}

std::vector<int32_t> Rows(int32_t count) {
  std::vector<int32_t> rows;
  for (int32_t i = 0; i < count; ++i) rows.push_back(i);
  return rows;
}

class LinearTest : public ::testing::TestWithParam<Case> {};

TEST_P(LinearTest, GivesTheReferencesSums) {
  const Stream stream = MakeStreamOrDie();
  const Case& c = GetParam();
  const Weight weight(c, stream);
  const Matrix x = reference::Random(23, c.in, c.dtype, 3, kScale);
  const std::vector<float> y = RunRows(weight, x, Rows(23), stream);
  for (int32_t row = 0; row < 23; ++row) {
    for (int32_t column = 0; column < c.out; ++column) {
      const float* const input = &x.values[int64_t{row} * c.in];
      const float got = y[row * c.out + column];
      if (c.dtype == DType::kF32) {
        const float want = static_cast<float>(weight.Want(input, column, true));
        ASSERT_TRUE(SameBits(got, want))
            << got << " for " << want << " at " << row << ", " << column;
      } else {
        const double want = weight.Want(input, column, false);
        double tolerance = kTolerance * std::sqrt(c.in) * c.in;
        if (c.epilogue == Epilogue::kSiluMul) tolerance += std::fabs(want) * 0x1p-8;
        ASSERT_NEAR(got, want, tolerance) << "at " << row << ", " << column;
      }
    }
  }
}

TEST_P(LinearTest, ARowDependsOnNoOther) {
  const Stream stream = MakeStreamOrDie();
  const Case& c = GetParam();
  const Weight weight(c, stream);
  const Matrix x = reference::Random(70, c.in, c.dtype, 4, kScale);
  const std::vector<float> all = RunRows(weight, x, Rows(70), stream);
  for (const std::vector<int32_t>& rows :
       {std::vector<int32_t>{69}, {7, 3, 3, 50}, std::vector<int32_t>(17, 33)}) {
    const std::vector<float> some = RunRows(weight, x, rows, stream);
    for (size_t i = 0; i < rows.size(); ++i) {
      for (int32_t column = 0; column < c.out; ++column) {
        ASSERT_TRUE(SameBits(some[i * c.out + column], all[int64_t{rows[i]} * c.out + column]))
            << rows.size() << " rows, row " << rows[i] << ", column " << column;
      }
    }
  }
}

// The partial sums of ranks, added by the tree's upper levels, are the whole's.
TEST_P(LinearTest, HalvesOfTheSlicesAddUpToTheWhole) {
  const Case& c = GetParam();
  if (c.slices == 1 || c.has_bias || c.epilogue != Epilogue::kStore) return;
  const Stream stream = MakeStreamOrDie();
  const Weight weight(c, stream);
  const Matrix x = reference::Random(5, c.in, c.dtype, 5, kScale);
  const std::vector<float> whole = RunRows(weight, x, Rows(5), stream);
  std::vector<float> sum(whole.size());
  for (int rank = 0; rank < 2; ++rank) {
    PackedLinear half = weight.packed();
    half.slices /= 2;
    half.in /= 2;
    half.data = static_cast<const std::byte*>(half.data) + rank * half.Bytes();
    Matrix mine{5, half.in, {}};
    for (int64_t row = 0; row < 5; ++row) {
      const float* const from = &x.values[row * c.in + int64_t{rank} * half.in];
      mine.values.insert(mine.values.end(), from, from + half.in);
    }
    const DeviceArray<std::byte> device_x(reference::Encode(mine, c.dtype), stream);
    const DeviceArray<float> y(std::vector<float>(whole.size()), stream);
    LinearArgs args;
    args.weight = half;
    args.x = device_x.data();
    args.x_stride = half.in;
    args.y = y.data();
    args.y_stride = c.out;
    args.rows = 5;
    ASSERT_CUDA(RunLinear(args, stream.get()));
    const std::vector<float> part = y.Download();
    for (size_t i = 0; i < sum.size(); ++i) sum[i] = rank == 0 ? part[i] : sum[i] + part[i];
  }
  for (size_t i = 0; i < sum.size(); ++i) ASSERT_TRUE(SameBits(sum[i], whole[i])) << i;
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const DType dtype : {DType::kBf16, DType::kF32}) {
    cases.push_back({dtype, Epilogue::kStore, 1, 72, 40});
    cases.push_back({dtype, Epilogue::kStore, 1, 100, 130, true});
    cases.push_back({dtype, Epilogue::kStore, 2, 192, 24, true});
    cases.push_back({dtype, Epilogue::kStore, 4, 128, 70});
    cases.push_back({dtype, Epilogue::kStore, 8, 512, 8});
    cases.push_back({dtype, Epilogue::kSiluMul, 1, 64, 44});
    cases.push_back({dtype, Epilogue::kSiluMul, 1, 40, 9, true});
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Shapes, LinearTest, ::testing::ValuesIn(Cases()), [](const auto& info) {
  const Case& c = info.param;
  return std::string(DTypeName(c.dtype)) + (c.epilogue == Epilogue::kStore ? "" : "_silu") + "_" +
         std::to_string(c.out) + "x" + std::to_string(c.in) + "_s" + std::to_string(c.slices) +
         (c.has_bias ? "_bias" : "");
});

}  // namespace
}  // namespace pagoda::cuda
