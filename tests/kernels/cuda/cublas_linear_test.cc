// Linears by cuBLASLt beside our own.
#include "kernels/cuda/cublas_linear.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "common/check.h"
#include "kernels/comm/single.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/weights.h"
#include "tests/kernels/cpu/tiny_model.h"
#include "tests/kernels/cuda/device_array.h"
#include "tests/kernels/reference.h"

namespace pagoda::cuda {
namespace {

using testing::TinyModel;

struct Case {
  Epilogue epilogue = Epilogue::kStore;
  int rows = 1;
  bool bias = false;
  bool gathered = false;
};

constexpr int kIn = 90, kOut = 40, kMostRows = 40;
constexpr int64_t kStride = 128;  // elements, of x and y

std::unique_ptr<CudaLinear> MakeWeight(const Case& c, const Stream& stream) {
  std::vector<std::vector<std::byte>> bytes;
  std::vector<std::vector<float>> values;
  std::vector<HostTensor> parts, biases;
  for (uint64_t p = 0; p < 2; ++p) {
    bytes.push_back(
        reference::Encode(reference::Random(kOut, kIn, DType::kBf16, p + 1, 0.3f), DType::kBf16));
    values.push_back(reference::Random(1, kOut, DType::kF32, p + 3, 1).values);
  }
  for (size_t p = 0; p < 2; ++p) {
    parts.push_back({bytes[p].data(), DType::kBf16, kOut, kIn, kIn});
    if (c.bias) biases.push_back({values[p].data(), DType::kF32, 1, kOut, kOut});
  }
  auto made = CudaLinear::Make({.in = kIn, .partition = Partition::kRow, .epilogue = c.epilogue},
                               parts,
                               biases,
                               stream,
                               false);
  CHECK_OK(made);
  return *std::move(made);
}

class CublasLinearTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    auto made = CublasLinear::Make();
    ASSERT_EQ(made.status(), absl::OkStatus());
    cublas_ = *std::move(made);
  }

  // x, with NaN beyond its columns.
  static std::vector<uint16_t> Input() {
    std::vector<uint16_t> x(kMostRows * kStride, 0x7fc0);
    const reference::Matrix values = reference::Random(kMostRows, kIn, DType::kBf16, 9, 1);
    const std::vector<std::byte> encoded = reference::Encode(values, DType::kBf16);
    for (int row = 0; row < kMostRows; ++row) {
      std::memcpy(&x[row * kStride], &encoded[row * kIn * 2], kIn * 2);
    }
    return x;
  }
  static std::vector<int32_t> Rows() {
    std::vector<int32_t> rows;
    for (int row = 0; row < GetParam().rows; ++row) rows.push_back((row * 7 + 3) % kMostRows);
    return rows;
  }

  // y, whose type is the weight's to say.
  template <class Fn>
  std::vector<float> Run(Fn linear) const {
    const DeviceArray<float> y(std::vector<float>(kMostRows * kStride), stream_);
    linear(LinearArgs{.weight = weight_->packed(),
                      .x = x_.data(),
                      .x_stride = kStride,
                      .x_row = GetParam().gathered ? rows_.data() : nullptr,
                      .y = y.data(),
                      .y_stride = kStride,
                      .rows = GetParam().rows});
    return y.Download();
  }

  static void ExpectNear(const std::vector<float>& got, const std::vector<float>& want) {
    if (GetParam().epilogue == Epilogue::kStore) {
      for (size_t i = 0; i < want.size(); ++i) {
        ASSERT_NEAR(got[i], want[i], 1e-4 * (1 + std::abs(want[i]))) << i;
      }
      return;
    }
    const auto* const a = reinterpret_cast<const uint16_t*>(got.data());
    const auto* const b = reinterpret_cast<const uint16_t*>(want.data());
    for (int64_t i = 0; i < kMostRows * kStride; ++i) {
      const float x = Bf16ToF32(a[i]), y = Bf16ToF32(b[i]);
      ASSERT_NEAR(x, y, 0.01 * (0.01 + std::abs(y))) << i;
    }
  }

  const Stream stream_ = MakeStreamOrDie();
  const std::unique_ptr<CudaLinear> weight_ = MakeWeight(GetParam(), stream_);
  const DeviceArray<uint16_t> x_{Input(), stream_};
  const DeviceArray<int32_t> rows_{Rows(), stream_};
  std::unique_ptr<CublasLinear> cublas_;
};

TEST_P(CublasLinearTest, GivesOurSumsUpToTheirOrder) {
  cublas_->Add(weight_->packed());
  ASSERT_EQ(cublas_->Reserve(kMostRows, kMostRows), absl::OkStatus());
  EXPECT_GT(cublas_->Bytes(kMostRows, kMostRows), 0);
  const std::vector<float> want =
      Run([&](const LinearArgs& args) { ASSERT_CUDA(RunLinear(args, stream_.get())); });
  for (int again = 0; again < 2; ++again) {  // the second time it knows the shape
    const std::vector<float> got = Run([&](const LinearArgs& args) {
      ASSERT_EQ(cublas_->Run(args, stream_.get()), absl::OkStatus());
    });
    ExpectNear(got, want);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cases,
    CublasLinearTest,
    ::testing::Values(Case{.rows = 1},
                      Case{.rows = 17, .bias = true},
                      Case{.rows = 5, .gathered = true},
                      Case{.epilogue = Epilogue::kSiluMul, .rows = 3},
                      Case{.epilogue = Epilogue::kSiluMul, .rows = 33, .bias = true},
                      Case{.epilogue = Epilogue::kSiluMul, .rows = 2, .gathered = true}));

// Logits of the last token of a prompt.
std::vector<float> Logits(Backend* backend, DType dtype) {
  TinyModel model(backend, dtype);
  const auto pool = *backend->MakeKvPool(model.Layout(16), 8);
  const std::vector<int32_t> tokens = {3, 1, 4, 1, 5, 9}, table = {5};
  const std::vector<SequenceInput> sequences = {
      {.lane = 0, .num_tokens = 6, .tokens = tokens, .block_table = table}};
  const std::vector<LogitsRow> logits = {{0, 5}};
  PreparedStep* const step =
      *backend->Prepare({.sequences = sequences, .logits_rows = logits}, *pool);
  CHECK_OK(backend->Run(*step, [&](LayerOps& ops) { return model.Forward(ops, *step, *pool); }));
  CHECK_OK(backend->Sample(*step, model.logits().Rows(0, 1), {}, *MakeSingleCommunicator()));
  CHECK_OK(backend->Collect(*step));
  const Stream stream = MakeStreamOrDie();
  std::vector<float> values(TinyModel::kVocab);
  CHECK_EQ(cudaMemcpyAsync(values.data(),
                           model.logits().data,
                           values.size() * sizeof(float),
                           cudaMemcpyDeviceToHost,
                           stream.get()),
           cudaSuccess);
  CHECK_EQ(cudaStreamSynchronize(stream.get()), cudaSuccess);
  return values;
}

TEST(NotDeterministic, IsAnotherKindOfDeviceWithNearlyTheSameLogits) {
  const auto ours = *MakeCudaBackend({});
  const auto made = MakeCudaBackend({.deterministic = false});
  ASSERT_EQ(made.status(), absl::OkStatus());
  const auto& other = *made;
  EXPECT_EQ(other->info().kind, ours->info().kind + " cublaslt");
  const std::vector<float> a = Logits(other.get(), DType::kBf16);
  const std::vector<float> b = Logits(ours.get(), DType::kBf16);
  for (size_t i = 0; i < b.size(); ++i) EXPECT_NEAR(a[i], b[i], 0.1) << i;
  EXPECT_EQ(Logits(other.get(), DType::kF32), Logits(ours.get(), DType::kF32));
}

}  // namespace
}  // namespace pagoda::cuda
