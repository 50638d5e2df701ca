#include "kernels/cpu/weights.h"

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/host_tensor.h"
#include "kernels/linear_spec.h"
#include "tests/kernels/reference.h"

namespace pagoda::cpu {
namespace {

using testing::HasSubstr;

constexpr uint16_t kHalfOfTwo = 0x3c00 + 0x400;  // 2.0 in f16

HostTensor Tensor(const void* data, DType dtype, int64_t rows, int64_t cols) {
  return {data, dtype, rows, cols, cols};
}

class WeightsTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<CpuLinear>> Pack(const LinearSpec& spec,
                                                  std::vector<HostTensor> parts,
                                                  std::vector<HostTensor> biases = {}) {
    return PackCpuLinear(spec, parts, biases, &team_);
  }
  ThreadTeam team_{2};
};

TEST_F(WeightsTest, CellsPairNeighbouringK) {
  // W[n][k] = 100 n + k, 18 outputs (two panels) over 34 inputs (padded to 64).
  reference::Matrix w{18, 34, {}};
  for (int n = 0; n < 18; ++n) {
    for (int k = 0; k < 34; ++k) w.values.push_back(static_cast<float>(n * 100 + k) / 128);
  }
  for (DType dtype : {DType::kF32, DType::kBf16}) {
    const std::vector<std::byte> bytes = reference::Encode(w, dtype);
    const auto linear = Pack({.in = 34, .dtype = dtype}, {Tensor(bytes.data(), dtype, 18, 34)});
    ASSERT_TRUE(linear.ok()) << linear.status();
    const PackedLinear& packed = (*linear)->packed();
    EXPECT_EQ(packed.panels, 2);
    EXPECT_EQ(packed.padded_in, 64);
    EXPECT_EQ((*linear)->in(), 34);
    EXPECT_EQ((*linear)->out(), 18);
    for (int64_t n = 0; n < 32; ++n) {
      for (int64_t k = 0; k < 64; ++k) {
        const size_t cell = n / 16 * packed.PanelElements() + k / 2 * 32;
        const float got =
            dtype == DType::kF32
                ? static_cast<const float*>(packed.data)[cell + k % 2 * 16 + n % 16]
                : Bf16ToF32(static_cast<const uint16_t*>(packed.data)[cell + n % 16 * 2 + k % 2]);
        const float want = n < 18 && k < 34 ? reference::Rounded(w.at(n, k), dtype) : 0;
        ASSERT_EQ(got, want) << DTypeName(dtype) << " " << n << ", " << k;
      }
    }
  }
}

TEST_F(WeightsTest, GateAndUpPanelsAlternate) {
  const reference::Matrix gate{20, 32, std::vector<float>(640, 2)};
  const reference::Matrix up{20, 32, std::vector<float>(640, 3)};
  const auto linear = Pack({.in = 32, .dtype = DType::kF32, .epilogue = Epilogue::kSiluMul},
                           {Tensor(gate.values.data(), DType::kF32, 20, 32),
                            Tensor(up.values.data(), DType::kF32, 20, 32)});
  ASSERT_TRUE(linear.ok());
  const PackedLinear& packed = (*linear)->packed();
  EXPECT_EQ(packed.panels, 4);
  EXPECT_EQ(packed.out, 20);
  const auto* data = static_cast<const float*>(packed.data);
  for (int panel = 0; panel < 4; ++panel) {
    EXPECT_EQ(data[panel * packed.PanelElements()], panel % 2 == 0 ? 2 : 3);
    // Output 20 of 20 is lane 4 of the second pair.
    EXPECT_EQ(data[panel * packed.PanelElements() + 4], panel >= 2 ? 0 : panel % 2 == 0 ? 2 : 3);
  }
}

TEST_F(WeightsTest, AShardIsAViewIntoTheWholeTensor) {
  const reference::Matrix w = reference::Random(16, 64, DType::kF32, 1);
  HostTensor shard = Tensor(w.values.data() + 32, DType::kF32, 16, 32);
  shard.row_stride = 64;
  const auto linear =
      Pack({.in = 32, .dtype = DType::kF32, .partition = Partition::kRow, .tp_size = 2}, {shard});
  ASSERT_TRUE(linear.ok());
  EXPECT_EQ((*linear)->packed().slices, 1);  // of the 2 that 64 inputs have
  const auto* data = static_cast<const float*>((*linear)->packed().data);
  for (int n = 0; n < 16; ++n) {
    for (int k = 0; k < 32; ++k) EXPECT_EQ(data[k * 16 + n], w.at(n, 32 + k));
  }
}

TEST_F(WeightsTest, ADividedRowParallelBiasIsLeftForAfterTheSum) {
  const reference::Matrix w = reference::Random(4, 64, DType::kF32, 1);
  const HostTensor weight = Tensor(w.values.data(), DType::kF32, 4, 64);
  const HostTensor bias = Tensor(w.values.data(), DType::kF32, 1, 4);
  LinearSpec spec{.in = 64, .dtype = DType::kF32, .partition = Partition::kRow};
  const auto alone = Pack(spec, {weight}, {bias});
  ASSERT_TRUE(alone.ok());
  EXPECT_NE((*alone)->packed().bias, nullptr);
  EXPECT_EQ((*alone)->late_bias(), nullptr);
  spec.tp_size = 2;
  const auto divided = Pack(spec, {weight}, {bias});
  ASSERT_TRUE(divided.ok());
  EXPECT_EQ((*divided)->packed().bias, nullptr);
  ASSERT_NE((*divided)->late_bias(), nullptr);
  for (int i = 0; i < 4; ++i) EXPECT_EQ((*divided)->late_bias()[i], w.values[i]);
}

TEST_F(WeightsTest, AnEmbeddingReadsItsOwnTokensAndZerosForOthers) {
  const std::vector<float> rows = {1, 2, 3, -0.0f};
  const auto embedding =
      CpuEmbedding::Make({.dtype = DType::kF32, .first_token = 5, .vocab_size = 9},
                         Tensor(rows.data(), DType::kF32, 2, 2));
  ASSERT_TRUE(embedding.ok());
  const auto read = [&](int32_t token) {
    std::vector<uint32_t> out(2, 7);
    (*embedding)->Read(token, reinterpret_cast<float*>(out.data()));
    return out;
  };
  EXPECT_EQ(read(6), (std::vector<uint32_t>{0x40400000, 0x80000000}));
  EXPECT_EQ(read(4), (std::vector<uint32_t>{0, 0}));
  EXPECT_EQ(read(7), (std::vector<uint32_t>{0, 0}));
}

TEST_F(WeightsTest, OtherDtypesAreConvertedAndNothingNeedsAlignment) {
  std::vector<std::byte> bytes(1 + 32 * 2);
  for (int k = 0; k < 32; ++k) std::memcpy(&bytes[1 + 2 * k], &kHalfOfTwo, 2);
  for (DType dtype : {DType::kF32, DType::kBf16}) {
    const auto linear = Pack({.in = 32, .dtype = dtype}, {Tensor(&bytes[1], DType::kF16, 1, 32)});
    ASSERT_TRUE(linear.ok());
    const void* data = (*linear)->packed().data;
    EXPECT_EQ(dtype == DType::kF32 ? *static_cast<const float*>(data)
                                   : Bf16ToF32(*static_cast<const uint16_t*>(data)),
              2.0f);
  }
  // f32 -> bf16 rounds to nearest even: 1 + 2^-8 is a tie, 1 + 3 * 2^-8 goes up.
  std::vector<float> wide(32, 1 + 0x1p-8f);
  wide[1] = 1 + 0x3p-8f;
  const auto linear = Pack({.in = 32}, {Tensor(wide.data(), DType::kF32, 1, 32)});
  ASSERT_TRUE(linear.ok());
  const auto* data = static_cast<const uint16_t*>((*linear)->packed().data);
  EXPECT_EQ(data[0], 0x3f80);
  EXPECT_EQ(data[1], 0x3f82);
}

TEST_F(WeightsTest, BiasesFollowTheirParts) {
  const std::vector<float> w(32 * 3, 1), first = {1, 2}, second = {3};
  const auto linear =
      Pack({.in = 32, .dtype = DType::kF32},
           {Tensor(w.data(), DType::kF32, 2, 32), Tensor(w.data(), DType::kF32, 1, 32)},
           {Tensor(first.data(), DType::kF32, 1, 2), Tensor(second.data(), DType::kF32, 1, 1)});
  ASSERT_TRUE(linear.ok());
  const float* bias = (*linear)->packed().bias;
  EXPECT_EQ(std::vector<float>(bias, bias + 5), (std::vector<float>{1, 2, 3, 0, 0}));
}

TEST_F(WeightsTest, WhatCannotBePackedIsRefusedWithAReason) {
  const std::vector<float> w(4096, 1);
  const HostTensor good = Tensor(w.data(), DType::kF32, 4, 32);
  HostTensor null = good, narrow = good, strided = good;
  null.data = nullptr;
  narrow.cols = 31;
  strided.row_stride = 31;
  const HostTensor bias = Tensor(w.data(), DType::kF32, 1, 4);
  const HostTensor short_bias = Tensor(w.data(), DType::kF32, 1, 3);
  const LinearSpec plain{.in = 32};
  const LinearSpec half{.in = 32, .dtype = DType::kF16};
  const LinearSpec fused{.in = 32, .epilogue = Epilogue::kSiluMul};
  const LinearSpec row{.in = 32, .partition = Partition::kRow, .tp_size = 3};
  const LinearSpec no_ranks{.in = 32, .partition = Partition::kRow, .tp_size = 0};
  struct Case {
    LinearSpec spec;
    std::vector<HostTensor> parts, biases;
    absl::StatusCode code;
    const char* message;
  };
  const auto kInvalid = absl::StatusCode::kInvalidArgument;
  const auto kUnbuilt = absl::StatusCode::kUnimplemented;
  for (const Case& test :
       std::vector<Case>{{plain, {}, {}, kInvalid, "without parts"},
                         {plain, {null}, {}, kInvalid, "linear weight"},
                         {plain, {narrow}, {}, kInvalid, "expected [any, 32]"},
                         {plain, {strided}, {}, kInvalid, "row stride 31"},
                         {plain, {good}, {bias, bias}, kInvalid, "2 biases for 1 parts"},
                         {plain, {good}, {short_bias}, kInvalid, "linear bias"},
                         {half, {good}, {}, kUnbuilt, "float16"},
                         {fused, {good}, {}, kInvalid, "gate and up"},
                         {row, {good}, {}, kInvalid, "3 ranks cannot divide"},
                         {no_ranks, {good}, {}, kInvalid, "tp_size 0"}}) {
    const absl::Status status = Pack(test.spec, test.parts, test.biases).status();
    EXPECT_EQ(status.code(), test.code) << test.message;
    EXPECT_THAT(std::string(status.message()), HasSubstr(test.message));
  }
}

TEST(RowSlicesTest, AreTheLargestPowerOfTwoThatFits) {
  EXPECT_EQ(RowSlices(256), 8);
  EXPECT_EQ(RowSlices(14336), 8);
  EXPECT_EQ(RowSlices(128), 4);
  EXPECT_EQ(RowSlices(64), 2);
  EXPECT_EQ(RowSlices(32), 1);
  EXPECT_EQ(RowSlices(100), 1);
  EXPECT_EQ(RowSlices(11008), 8);
  EXPECT_EQ(RowSlices(320), 2);
}

TEST(CpuEmbeddingTest, RowsAreRoundedToTheModelsDtype) {
  const std::vector<float> table = {1, 2, 3 + 0x1p-20f, 4};
  const HostTensor tensor{table.data(), DType::kF32, 2, 2, 2};
  float row[2];
  CpuEmbedding({.dtype = DType::kF32, .vocab_size = tensor.rows}, tensor).Read(1, row);
  EXPECT_EQ(row[0], 3 + 0x1p-20f);
  CpuEmbedding({.dtype = DType::kBf16, .vocab_size = tensor.rows}, tensor).Read(1, row);
  EXPECT_EQ(row[0], 3);
  EXPECT_EQ(row[1], 4);
}

TEST(CpuRopeTableTest, HoldsTheCosineAndSineOfThePosition) {
  const std::vector<double> frequencies = {1.0, 0.1, 1e-4};
  const auto table = CpuRopeTable::Make(
      {.inverse_frequencies = frequencies, .attention_factor = 1.5, .max_position = 5000});
  ASSERT_TRUE(table.ok());
  EXPECT_EQ((*table)->max_position(), 5000);
  EXPECT_EQ((*table)->pairs(), 3);
  for (int64_t position : {0, 1, 17, 4999}) {
    for (int i = 0; i < 3; ++i) {
      const double angle = position * frequencies[i];
      EXPECT_EQ((*table)->cos(position)[i], static_cast<float>(1.5 * std::cos(angle)));
      EXPECT_EQ((*table)->sin(position)[i], static_cast<float>(1.5 * std::sin(angle)));
    }
  }
}

TEST(CpuRopeTableTest, RefusesWhatItCannotHold) {
  const std::vector<double> one = {1}, many(129, 1.0);
  for (const RopeSpec& spec : {RopeSpec{{}, 1, 10},
                               RopeSpec{one, 1, 0},
                               RopeSpec{one, 1, -1},
                               RopeSpec{many, 1, 10},
                               RopeSpec{one, 1, int64_t{1} << 40}}) {
    EXPECT_EQ(CpuRopeTable::Make(spec).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace pagoda::cpu
