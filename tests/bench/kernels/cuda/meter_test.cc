// What the meter counts, and that every case of the bench runs; on the fake device figures mean
// nothing but what was divided by what.
#include "bench/kernels/cuda/meter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/kernels/cuda/cases.h"
#include "common/check.h"
#include "kernels/cuda/status.h"

namespace pagoda::bench {
namespace {

using ::testing::ElementsAre;

absl::StatusOr<std::unique_ptr<Gemm>> NoGemm(cudaStream_t) { return nullptr; }

// Counts its runs, and copies a matrix.
class CopyGemm final : public Gemm {
 public:
  explicit CopyGemm(cudaStream_t stream) : stream_(stream) {}
  absl::Status Run(const void* a, const void*, void* c, int32_t size) override {
    ++runs;
    const size_t bytes = sizeof(uint16_t) * size * size;
    return cuda::ToStatus(cudaMemcpyAsync(c, a, bytes, cudaMemcpyDeviceToDevice, stream_), "copy");
  }
  inline static int runs = 0;

 private:
  const cudaStream_t stream_;
};
absl::StatusOr<std::unique_ptr<Gemm>> MakeCopyGemm(cudaStream_t stream) {
  return std::make_unique<CopyGemm>(stream);
}

std::unique_ptr<Meter> MakeQuick(int repetitions, MakeGemmFn make_gemm) {
  auto made = Meter::Make({.quick = true, .repetitions = repetitions}, make_gemm);
  CHECK_OK(made);
  return *std::move(made);
}

TEST(Meter, CasesTakeTurnsAfterTheirLimit) {
  CopyGemm::runs = 0;
  const auto meter = MakeQuick(2, MakeCopyGemm);
  std::string order;
  const auto run = [&](char name) {
    order += std::to_string(CopyGemm::runs) + name;
    return absl::OkStatus();
  };
  const Work work = {"op", Limit::kGemm, 6e6, 3};
  const std::vector<Case> cases = {{"first", [&] { return run('a'); }},
                                   {"second", [&] { return run('b'); }}};
  ASSERT_TRUE(meter->Measure(work, cases).ok());
  EXPECT_EQ(order, "1a2b3a4b5a6b7a8b9a10b");  // three warm-ups, two that count
  const Report report = meter->TakeReport();
  ASSERT_EQ(report.figures.size(), 2);
  EXPECT_GT(report.gemm_rate, 0);
  EXPECT_EQ(report.copy_rate, 0);  // nothing was compared with it
  const Figure &first = report.figures[0], &second = report.figures[1];
  EXPECT_EQ(first.shape, "first");
  EXPECT_EQ(first.against_first, 0);
  EXPECT_DOUBLE_EQ(second.against_first, second.seconds / first.seconds);
  EXPECT_EQ(first.limit_rate, second.limit_rate);
  for (const Figure& figure : report.figures) {
    EXPECT_EQ(figure.repetitions, 2);
    EXPECT_DOUBLE_EQ(figure.rate * figure.seconds, 2e6);  // of one launch in three
    EXPECT_LE(figure.fastest, figure.seconds);
    EXPECT_GE(figure.slowest, figure.seconds);
  }
}

TEST(Meter, AnErrorOfACaseEndsTheMeasurement) {
  const auto meter = MakeQuick(1, NoGemm);
  int runs = 0;
  const auto fails = [&] { return ++runs == 2 ? absl::InternalError("lost") : absl::OkStatus(); };
  EXPECT_EQ(meter->Measure({"op", Limit::kCopy, 1}, {{"only", fails}}).message(), "lost");
  EXPECT_EQ(runs, 2);
  EXPECT_TRUE(meter->TakeReport().figures.empty());
}

TEST(Meter, RandomValuesFillTheMemoryAndGoOn) {
  const auto meter = MakeQuick(1, NoGemm);
  constexpr size_t kCount = (size_t{1} << 20) + 5;
  auto buffer = meter->RandomF32(kCount);
  ASSERT_TRUE(buffer.ok());
  ASSERT_EQ(buffer->bytes(), kCount * sizeof(float));
  std::vector<float> values(kCount);
  ASSERT_EQ(cudaMemcpyAsync(values.data(),
                            buffer->data(),
                            buffer->bytes(),
                            cudaMemcpyDeviceToHost,
                            meter->stream()),
            cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(meter->stream()), cudaSuccess);
  for (const float value : values) ASSERT_TRUE(std::isfinite(value));
  EXPECT_NE(values[0], values[1]);
  EXPECT_EQ(values[kCount - 1], values[4]);
}

std::vector<std::string> Names(const Report& report) {
  std::vector<std::string> names;
  for (const Figure& figure : report.figures) names.push_back(figure.op + ": " + figure.shape);
  return names;
}

TEST(CudaBench, MeasuresEveryCase) {
  const auto meter = MakeQuick(1, NoGemm);
  ASSERT_TRUE(MeasureAll(*meter).ok());
  const Report report = meter->TakeReport();
  EXPECT_THAT(Names(report),
              ElementsAre("decode attention: 2 x 1 of 256, contiguous",
                          "decode attention: 2 x 1 of 256, blocks of 16",
                          "decode attention: 2 x 1 of 256, blocks of 16 in order",
                          "decode attention: 2 x 1 of 256, blocks of 128",
                          "prefill attention: 1 x 20 of 128, contiguous",
                          "prefill attention: 1 x 20 of 128, blocks of 16",
                          "prefill attention: 1 x 20 of 128, blocks of 16 in order",
                          "prefill attention: 1 x 20 of 128, blocks of 128",
                          "linear bf16: M = 1, 128 to 64, 2 slices",
                          "linear bf16: M = 17, 128 to 64, 2 slices",
                          "linear bf16: M = 256, 128 to 64, 2 slices",
                          "add and norm: 3 x 256",
                          "rope and KV write: 3 rows, 2 and 1 heads of 128",
                          "block copies: 1 blocks of 8 KiB",
                          "block copies: 4 blocks of 8 KiB",
                          "sampling: 2 rows of 600, greedy",
                          "sampling: 2 rows of 600, temperature",
                          "sampling: 2 rows of 600, temperature, top-k 50, top-p 0.9",
                          "sampling: 2 rows of 600, temperature, top-p 0.9"));
  EXPECT_GT(report.copy_rate, 0);
  EXPECT_EQ(report.gemm_rate, 0);
  for (const Figure& figure : report.figures) {
    EXPECT_GT(figure.rate, 0) << figure.op;
    EXPECT_EQ(figure.limit_rate > 0, figure.limit == Limit::kCopy) << figure.op;
  }
  // What the shapes say: 2 x 256 tokens of 1 KV head, and 20 rows that see 128, 127, ... positions.
  const auto amount = [&](size_t i) { return report.figures[i].rate * report.figures[i].seconds; };
  EXPECT_NEAR(amount(0), 2 * 256 * 2 * 128 * 2, 1);
  EXPECT_NEAR(amount(4), 4.0 * 128 * 4 * (128 + 109) * 10, 1);
  EXPECT_NEAR(amount(8), 2 * 64 * 128 + 2 * 128 + 4 * 64, 1);
  EXPECT_NEAR(amount(10), 2.0 * 256 * 128 * 64, 1);
  EXPECT_NEAR(amount(13), 2 * 8192, 1);
}

}  // namespace
}  // namespace pagoda::bench
