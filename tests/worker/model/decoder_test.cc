#include "worker/model/decoder.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/comm/communicator.h"
#include "kernels/comm/single.h"
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

// One of some ranks; notes what is exchanged.
class NotingCommunicator : public Communicator {
 public:
  explicit NotingCommunicator(const ShardSpec& shard) : shard_(shard) {}

  int rank() const override { return shard_.rank; }
  int size() const override { return shard_.size; }
  void SetDeadline(absl::Time) override {}
  absl::Status AllReduce(absl::Span<float> data) override { return Note("reduce", data.size()); }
  absl::Status AllMerge(absl::Span<uint32_t> words) override { return Note("merge", words.size()); }
  absl::Status AllGather(absl::Span<const std::byte>, absl::Span<std::byte>) override { return {}; }
  absl::Status Gather(absl::Span<const std::byte> mine, absl::Span<std::byte> all, int) override {
    // As many rows from the second rank, which rank 0 puts beside its own.
    for (size_t i = 0; i < all.size(); ++i) all[i] = std::byte(i < mine.size() ? 0 : 1);
    return Note("gather", mine.size());
  }
  absl::Status Broadcast(absl::Span<std::byte>, int) override { return {}; }
  void Abort() override {}

  std::vector<std::string> operations;
  size_t fail_at = 0;

 private:
  absl::Status Note(absl::string_view name, size_t size) {
    operations.push_back(absl::StrCat(name, " ", size));
    return operations.size() == fail_at ? absl::UnavailableError("peer lost") : absl::OkStatus();
  }

  const ShardSpec shard_;
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
  std::unique_ptr<Communicator> comm_ = MakeSingleCommunicator();
};

TEST_F(DecoderTest, RunsTheLayersInOrderOnTheStepsRows) {
  ASSERT_TRUE(decoder_->Configure(Limits(9, 4, 50)).ok());
  ASSERT_TRUE(decoder_->Forward(ops_, 5, 2, pool_, *comm_).ok());
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
  ASSERT_TRUE(decoder_->Forward(ops_, 3, 0, pool_, *comm_).ok());
  EXPECT_EQ(ops_.lines.size(), 17u);
}

// One of two ranks of a model of hidden 64 and 75 tokens.
class DividedDecoderTest : public ::testing::TestWithParam<int> {
 protected:
  DividedDecoderTest() {
    testing::WriteShardableModel(dir_.path());
    LoadOptions options;
    options.directory = dir_.path();
    options.shard = {.rank = GetParam(), .size = 2};
    absl::StatusOr<LoadedModel> model = LoadModel(options, backend_, [](uint64_t, uint64_t) {});
    CHECK_OK(model);
    decoder_ = std::make_unique<Decoder>(backend_, *std::move(model));
    CHECK_OK(decoder_->Configure(Limits(6, 3, 50)));
  }

  testing::TempDir dir_;
  FakeBackend backend_;
  NoPool pool_;
  RecordingOps ops_;
  std::unique_ptr<Decoder> decoder_;
  NotingCommunicator comm_{{.rank = GetParam(), .size = 2}};
};

TEST_P(DividedDecoderTest, MergesTheEmbeddingCompletesRowParallelLinearsAndGathersLogits) {
  ASSERT_TRUE(decoder_->Forward(ops_, 4, 2, pool_, comm_).ok());
  EXPECT_THAT(comm_.operations,
              ElementsAre("merge 256",
                          "reduce 256",
                          "reduce 256",
                          "reduce 256",
                          "reduce 256",
                          "gather 320"));  // 2 rows of 40 f32: four eighths of 75, rounded up
  EXPECT_THAT(ops_.lines.back(),
              ::testing::EndsWith(GetParam() == 0 ? "join 40 -> float32 2x75" : "float32 2x35"));
  // A bias comes once, after the sum.
  EXPECT_EQ(std::count(ops_.lines.begin(), ops_.lines.end(), "bias"), 4);
}

TEST_P(DividedDecoderTest, TheFirstRankPutsRowsOfLogitsTogether) {
  ASSERT_TRUE(decoder_->Forward(ops_, 4, 2, pool_, comm_).ok());
  if (GetParam() != 0) return;
  const TensorView logits = decoder_->Logits(2);
  EXPECT_EQ(logits.cols, 75);
  for (int64_t row = 0; row < 2; ++row) {
    for (int64_t token = 0; token < 75; ++token) {
      EXPECT_EQ(logits.Row<float>(row)[token] == 0, token < 40) << row << " " << token;
    }
  }
}

TEST_P(DividedDecoderTest, ALostPeerEndsThePass) {
  comm_.fail_at = 3;
  EXPECT_EQ(decoder_->Forward(ops_, 4, 1, pool_, comm_).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(comm_.operations.size(), 3u);
}

INSTANTIATE_TEST_SUITE_P(Ranks, DividedDecoderTest, ::testing::Values(0, 1));

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
