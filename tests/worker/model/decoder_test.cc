#include "worker/model/decoder.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/comm/communicator.h"
#include "tests/worker/model/fake_backend.h"
#include "tests/worker/model/model_files.h"

namespace pagoda {
namespace {

using ::testing::ElementsAre;
using testing::FakeBackend;
using testing::RecordingOps;

// A pool that is only passed through.
class NoPool : public KvPool {
 public:
  const KvLayout& layout() const override { return layout_; }
  int32_t num_blocks() const override { return 0; }
  void* block(int32_t) override { return nullptr; }

 private:
  KvLayout layout_;
};

// One of two ranks; notes what is reduced.
class NotingCommunicator : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 2; }
  absl::Status AllReduce(absl::Span<float> data) override {
    sizes.push_back(data.size());
    return sizes.size() == fail_at ? absl::UnavailableError("peer lost") : absl::OkStatus();
  }
  absl::Status AllGather(absl::Span<const std::byte>, absl::Span<std::byte>) override { return {}; }
  absl::Status Gather(absl::Span<const std::byte>, absl::Span<std::byte>, int) override {
    return {};
  }
  absl::Status Broadcast(absl::Span<std::byte>, int) override { return {}; }
  void Abort() override {}

  std::vector<size_t> sizes;
  size_t fail_at = 0;
};

StepLimits Limits(int32_t tokens, int32_t logits_rows, int32_t length) {
  StepLimits limits;
  limits.max_tokens = tokens;
  limits.max_logits_rows = logits_rows;
  limits.max_model_len = length;
  return limits;
}

class DecoderTest : public ::testing::Test {
 protected:
  DecoderTest() {
    testing::WriteTinyModel(dir_.path(), /*tied=*/false);
    LoadOptions options;
    options.directory = dir_.path();
    absl::StatusOr<LoadedModel> model = LoadModel(options, backend_, [](uint64_t, uint64_t) {});
    CHECK_OK(model);
    decoder_ = std::make_unique<Decoder>(backend_, *std::move(model));
  }

  testing::TempDir dir_;
  FakeBackend backend_;
  NoPool pool_;
  RecordingOps ops_;
  std::unique_ptr<Decoder> decoder_;
};

TEST_F(DecoderTest, RunsTheLayersInOrderOnTheStepsRows) {
  ASSERT_TRUE(decoder_->Configure(Limits(9, 4, 50)).ok());
  ASSERT_TRUE(decoder_->Forward(ops_, 5, 2, pool_, nullptr).ok());
  // Between name and arrow: the weight's first value, which TinyWeights makes from the tensor's
  // number n in the order of the layers: ((n * 11) mod 64 - 32) / 64.
  EXPECT_THAT(ops_.lines,
              ElementsAre("embed -0.5 -> float32 5x32",
                          "norm -0.328125 -> bfloat16 5x32",
                          "linear -0.15625 -> float32 5x64",
                          "rope 0 0 -> bfloat16 5x32",
                          "attention 0 heads 4 0 -> bfloat16 5x32",
                          "linear 0.359375 -> float32 5x32",
                          "add_norm -0.46875 -> bfloat16 5x32",
                          "linear -0.296875 -> bfloat16 5x48",
                          "linear 0.046875 -> float32 5x32",
                          "add_norm 0.21875 -> bfloat16 5x32",
                          "linear 0.390625 -> float32 5x64",
                          "rope 1 0 -> bfloat16 5x32",
                          "attention 1 heads 4 0 -> bfloat16 5x32",
                          "linear -0.09375 -> float32 5x32",
                          "add_norm 0.078125 -> bfloat16 5x32",
                          "linear 0.25 -> bfloat16 5x48",
                          "linear -0.40625 -> float32 5x32",
                          "add_norm -0.234375 -> bfloat16 5x32",
                          "logits -0.0625 -> float32 2x16"));
  EXPECT_EQ(ops_.last_epsilon, 1e-5f);
  EXPECT_EQ(ops_.last_scale, static_cast<float>(1 / std::sqrt(8.0)));
  EXPECT_EQ(decoder_->Logits(2).rows, 2);
}

TEST_F(DecoderTest, AStepWithoutLogitsEndsAfterTheLastLayer) {
  ASSERT_TRUE(decoder_->Configure(Limits(3, 1, 50)).ok());
  ASSERT_TRUE(decoder_->Forward(ops_, 3, 0, pool_, nullptr).ok());
  EXPECT_EQ(ops_.lines.size(), 17u);
}

TEST_F(DecoderTest, EachRowParallelLinearIsCompletedByAnAllReduce) {
  ASSERT_TRUE(decoder_->Configure(Limits(6, 1, 50)).ok());
  NotingCommunicator communicator;
  ASSERT_TRUE(decoder_->Forward(ops_, 4, 1, pool_, &communicator).ok());
  EXPECT_THAT(communicator.sizes, ElementsAre(128, 128, 128, 128));
}

TEST_F(DecoderTest, ALostPeerEndsThePass) {
  ASSERT_TRUE(decoder_->Configure(Limits(6, 1, 50)).ok());
  NotingCommunicator communicator;
  communicator.fail_at = 2;
  EXPECT_EQ(decoder_->Forward(ops_, 4, 1, pool_, &communicator).code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(communicator.sizes.size(), 2u);
}

TEST_F(DecoderTest, AnEpochGetsNewBuffersAndALongerRopeTableOnlyWhenNeeded) {
  ASSERT_TRUE(decoder_->Configure(Limits(6, 2, 40)).ok());
  const size_t buffers = backend_.buffers.size();
  ASSERT_TRUE(decoder_->Configure(Limits(2, 1, 8)).ok());
  EXPECT_EQ(backend_.buffers.size(), 2 * buffers);
  EXPECT_EQ(backend_.rope_tables.size(), 1u);
  ASSERT_TRUE(decoder_->Configure(Limits(7, 1, 64)).ok());
  ASSERT_EQ(backend_.rope_tables.size(), 2u);
  EXPECT_EQ(backend_.rope_tables[1]->positions, 64);
  EXPECT_EQ(backend_.rope_tables[1]->frequencies.size(), 4u);
  EXPECT_EQ(backend_.rope_tables[1]->frequencies[0], 1);
}

TEST_F(DecoderTest, LengthsBeyondTheModelAreRefused) {
  EXPECT_EQ(decoder_->Configure(Limits(1, 1, 65)).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(DecoderTest, TheKvLayoutIsTheModels) {
  EXPECT_EQ(decoder_->MakeKvLayout(16),
            (KvLayout{.num_layers = 2,
                      .num_kv_heads = 2,
                      .head_dim = 8,
                      .block_size = 16,
                      .dtype = DType::kBf16}));
  EXPECT_EQ(decoder_->window(), 0);
}

}  // namespace
}  // namespace pagoda
