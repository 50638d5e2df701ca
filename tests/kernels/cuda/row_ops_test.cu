// The row operations against the naive contract, bit for bit.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/cuda/row_ops.h"
#include "tests/kernels/cuda/device_array.h"
#include "tests/kernels/reference.h"

namespace pagoda::cuda {
namespace {

using reference::Matrix;
using reference::SameBits;

constexpr float kUntouched = -7;

class RowOpsTest : public ::testing::TestWithParam<DType> {
 protected:
  // Device memory for `count` values of the dtype, each kUntouched.
  DeviceArray<std::byte> Output(int64_t count) const {
    return {reference::Encode({1, count, std::vector<float>(count, kUntouched)}, dtype_), stream_};
  }
  std::vector<float> Floats(const std::vector<std::byte>& bytes) const {
    std::vector<float> values;
    for (size_t at = 0; at < bytes.size(); at += DTypeSize(dtype_)) {
      float value = 0;
      uint16_t half = 0;
      std::memcpy(dtype_ == DType::kF32 ? static_cast<void*>(&value) : &half,
                  &bytes[at],
                  DTypeSize(dtype_));
      values.push_back(dtype_ == DType::kF32 ? value : Bf16ToF32(half));
    }
    return values;
  }

  const DType dtype_ = GetParam();
  const Stream stream_ = MakeStreamOrDie();
};

TEST_P(RowOpsTest, EmbedsOwnTokensAndZerosForOthers) {
  constexpr int kTokens = 5, kHidden = 70, kFirst = 10, kStride = 80;
  const Matrix table = reference::Random(kTokens, kHidden, dtype_, 1);
  const DeviceArray<std::byte> device_table(reference::Encode(table, dtype_), stream_);
  const DeviceArray<StepToken> rows(
      {{.token = 12}, {.token = 9}, {.token = -1, .lane = 2}, {.token = 15}, {.token = 14}},
      stream_);
  const DeviceArray<int32_t> lanes({3, 3, 10}, stream_);
  const DeviceArray<float> out(std::vector<float>(5 * kStride, kUntouched), stream_);
  ASSERT_CUDA(RunEmbed({.rows = rows.data(),
                        .lane_tokens = lanes.data(),
                        .num_rows = 5,
                        .table = device_table.data(),
                        .dtype = dtype_,
                        .first_token = kFirst,
                        .tokens = kTokens,
                        .hidden = kHidden,
                        .out = out.data(),
                        .out_stride = kStride},
                       stream_.get()));
  const std::vector<float> got = out.Download();
  const int from[] = {2, -1, 0, -1, 4};
  for (int row = 0; row < 5; ++row) {
    for (int i = 0; i < kStride; ++i) {
      const float own = from[row] < 0 || i >= kHidden ? 0.0f : table.at(from[row], i);
      ASSERT_TRUE(SameBits(got[row * kStride + i], i < kHidden ? own : kUntouched))
          << row << ", " << i;
    }
  }
}

TEST_P(RowOpsTest, NormAddsTheDeltaAndFollowsTheContract) {
  for (const int size : {1, 15, 100, 257, 1000}) {
    for (const bool with_delta : {false, true}) {
      constexpr int kRows = 3;
      const int stride = size + 5;
      const Matrix x = reference::Random(kRows, stride, DType::kF32, size);
      const Matrix delta = reference::Random(kRows, stride, DType::kF32, size + 1);
      const std::vector<float> weight = reference::Random(1, size, DType::kF32, 3).values;
      const DeviceArray<float> residual(x.values, stream_), device_delta(delta.values, stream_),
          device_weight(weight, stream_);
      const DeviceArray<std::byte> out = Output(int64_t{kRows} * stride);
      ASSERT_CUDA(RunAddNorm({.residual = residual.data(),
                              .delta = with_delta ? device_delta.data() : nullptr,
                              .weight = device_weight.data(),
                              .out = out.data(),
                              .residual_stride = stride,
                              .delta_stride = stride,
                              .out_stride = stride,
                              .rows = kRows,
                              .size = size,
                              .epsilon = 1e-5f,
                              .dtype = dtype_},
                             stream_.get()));
      const std::vector<float> sums = residual.Download(), got = Floats(out.Download());
      for (int row = 0; row < kRows; ++row) {
        std::vector<float> sum;
        for (int i = 0; i < size; ++i) {
          sum.push_back(with_delta ? x.at(row, i) + delta.at(row, i) : x.at(row, i));
        }
        const std::vector<float> want = reference::RmsNorm(sum, weight, 1e-5f);
        for (int i = 0; i < stride; ++i) {
          const int at = row * stride + i;
          ASSERT_TRUE(SameBits(sums[at], i < size ? sum[i] : x.at(row, i))) << size << ": " << at;
          ASSERT_TRUE(
              SameBits(got[at], i < size ? reference::Rounded(want[i], dtype_) : kUntouched))
              << size << ": " << at;
        }
      }
    }
  }
}

struct RopeCase {
  static constexpr int kHeads = 4, kKvHeads = 2, kDim = 48, kBlockSize = 8, kBlocks = 5;
  static constexpr int kColumns = (kHeads + 2 * kKvHeads) * kDim;
  static constexpr int kPool = kBlocks * 2 * kKvHeads * kBlockSize * kDim;

  int pairs;
  std::vector<StepToken> rows = {{.position = 17, .block = 3, .slot = 1},
                                 {.position = 18, .block = 3, .slot = 2},
                                 {.position = 39, .block = 1, .slot = 7}};
  Matrix qkv = reference::Random(3, kColumns, DType::kF32, 5);
  Matrix cos_sin = reference::Random(40, 2 * pairs, DType::kF32, 6);

  // Dimension d of a head of a row, rounded.
  float Turned(int row, int head, int d, DType dtype) const {
    const float* const in = &qkv.values[row * kColumns + head * kDim];
    float value = in[d];
    if (d < 2 * pairs && head < kHeads + kKvHeads) {
      const int p = d % pairs;
      const float cos = cos_sin.at(rows[row].position, p);
      const float sin = cos_sin.at(rows[row].position, pairs + p);
      value = d < pairs ? std::fma(in[p + pairs], 0.0f - sin, in[p] * cos)
                        : std::fma(in[p], sin, in[p + pairs] * cos);
    }
    return reference::Rounded(value, dtype);
  }
};

TEST_P(RowOpsTest, RopeTurnsQAndKAndStoresKAndV) {
  using C = RopeCase;
  const size_t tile = C::kBlockSize * C::kDim * DTypeSize(dtype_);
  for (const int pairs : {C::kDim / 2, 10}) {
    const RopeCase c = {pairs};
    const int count = static_cast<int>(c.rows.size());
    const DeviceArray<StepToken> rows(c.rows, stream_);
    const DeviceArray<float> qkv(c.qkv.values, stream_), table(c.cos_sin.values, stream_);
    const DeviceArray<std::byte> q = Output(count * C::kHeads * C::kDim), pool = Output(C::kPool);
    RopeArgs args = {.rows = rows.data(), .num_rows = count, .qkv = qkv.data()};
    args.qkv_stride = C::kColumns;
    args.cos_sin = table.data();
    args.pairs = pairs;
    args.num_heads = C::kHeads;
    args.num_kv_heads = C::kKvHeads;
    args.head_dim = C::kDim;
    args.dtype = dtype_;
    args.q = q.data();
    args.q_stride = C::kHeads * C::kDim;
    args.kv = pool.data();
    args.head_bytes = tile;
    args.v_bytes = C::kKvHeads * tile;
    args.block_bytes = 2 * C::kKvHeads * tile;
    ASSERT_CUDA(RunRopeAndStoreKv(args, stream_.get()));
    std::vector<float> want_q, want_pool(C::kPool, kUntouched);
    for (int i = 0; i < count * C::kColumns; ++i) {
      const int row = i / C::kColumns, head = i % C::kColumns / C::kDim, d = i % C::kDim;
      const float value = c.Turned(row, head, d, dtype_);
      const int tiles = c.rows[row].block * 2 * C::kKvHeads + head - C::kHeads;
      if (head < C::kHeads) {
        want_q.push_back(value);
      } else {
        want_pool[(tiles * C::kBlockSize + c.rows[row].slot) * C::kDim + d] = value;
      }
    }
    EXPECT_EQ(Floats(q.Download()), want_q);
    EXPECT_EQ(Floats(pool.Download()), want_pool);
  }
}

TEST_P(RowOpsTest, BiasIsAddedToEveryRow) {
  if (dtype_ != DType::kF32) return;
  constexpr int kRows = 3, kSize = 150, kStride = 160;
  const Matrix x = reference::Random(kRows, kStride, dtype_, 1),
               bias = reference::Random(1, kSize, dtype_, 2);
  const DeviceArray<float> out(x.values, stream_), device_bias(bias.values, stream_);
  ASSERT_CUDA(RunAddBias(out.data(), kStride, kRows, kSize, device_bias.data(), stream_.get()));
  const std::vector<float> got = out.Download();
  for (int i = 0; i < kRows * kStride; ++i) {
    const int at = i % kStride;
    ASSERT_EQ(got[i], at < kSize ? x.values[i] + bias.values[at] : x.values[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(Types,
                         RowOpsTest,
                         ::testing::Values(DType::kBf16, DType::kF32),
                         [](const auto& info) { return std::string(DTypeName(info.param)); });

}  // namespace
}  // namespace pagoda::cuda
