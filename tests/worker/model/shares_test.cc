// What each rank of a group loads: its part of every tensor, and no byte more.
#include <map>
#include <numeric>

#include "common/check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/model/fake_backend.h"
#include "tests/worker/model/model_files.h"
#include "worker/model/loader.h"
#include "worker/model/tensor_source.h"

namespace pagoda {
namespace {

using testing::FakeBackend;
using testing::FakeEmbedding;
using testing::FakeLinear;

class SharesTest : public ::testing::TestWithParam<const char*> {
 protected:
  SharesTest() {
    testing::WriteShardableModel(dir_.path());
    auto config = ReadModelConfig(dir_.path());
    CHECK_OK(config);
    config_ = *config;
  }

  LoadedModel Load(const ShardSpec& shard) {
    LoadOptions options;
    options.directory = dir_.path();
    options.load_format = GetParam();
    options.shard = shard;
    options.backend_kind = "fake";
    auto model = LoadModel(options, backend_, [](uint64_t, uint64_t) {});
    CHECK_OK(model);
    return *std::move(model);
  }

  testing::TempDir dir_;
  ModelConfig config_;
  FakeBackend backend_;
};

const FakeLinear& Linear(const std::unique_ptr<LinearWeight>& weight) {
  return dynamic_cast<const FakeLinear&>(*weight);
}

// Columns [begin, end) of a row-major matrix.
std::vector<float> Columns(const FakeLinear& whole, int64_t begin, int64_t end) {
  std::vector<float> values;
  for (int64_t row = 0; row < whole.rows; ++row) {
    const auto at = whole.values.begin() + row * whole.cols;
    values.insert(values.end(), at + begin, at + end);
  }
  return values;
}

// Rows [begin, end).
std::vector<float> Rows(const std::vector<float>& values,
                        int64_t cols,
                        int64_t begin,
                        int64_t end) {
  return {values.begin() + begin * cols, values.begin() + end * cols};
}

// Hidden 64; 4 heads of 32 over 2 KV heads; 128 features; 75 tokens; biases everywhere.
TEST_P(SharesTest, AreRunsOfHeadsFeaturesInputsAndTokens) {
  const LoadedModel whole = Load({});
  for (const int size : {2, 4}) {
    for (int rank = 0; rank < size; ++rank) {
      const LoadedModel part = Load({rank, size});
      const LayerWeights& w = whole.weights.layers[1];
      const LayerWeights& p = part.weights.layers[1];
      const int64_t q = 128 / size, kv = size == 2 ? 32 : 32, features = 128 / size;
      const int64_t kv_first = size == 2 ? rank * 32 : rank / 2 * 32;
      std::vector<float> qkv = Rows(Linear(w.qkv).values, 64, rank * q, rank * q + q);
      for (const int64_t part_begin : {128, 128 + 64}) {
        const int64_t begin = part_begin + kv_first;
        const std::vector<float> head = Rows(Linear(w.qkv).values, 64, begin, begin + kv);
        qkv.insert(qkv.end(), head.begin(), head.end());
      }
      EXPECT_EQ(Linear(p.qkv).values, qkv);
      EXPECT_EQ(Linear(p.o).values, Columns(Linear(w.o), rank * q, rank * q + q));
      EXPECT_EQ(Linear(p.o).biases, Linear(w.o).biases);
      EXPECT_EQ(Linear(p.down).values,
                Columns(Linear(w.down), rank * features, rank * features + features));
      EXPECT_EQ(Linear(p.gate_up).rows, 2 * features);
      const TensorShare tokens = ShareVocabulary(75, {rank, size});
      EXPECT_EQ(Linear(part.weights.lm_head).values,
                Rows(Linear(whole.weights.lm_head).values, 64, tokens.begin(), tokens.end()));
      const auto& embedding = dynamic_cast<const FakeEmbedding&>(*part.weights.embedding);
      EXPECT_EQ(embedding.embedding.first_token, tokens.begin());
      EXPECT_EQ(embedding.embedding.vocab_size, 75);
      EXPECT_EQ(embedding.values.size(), static_cast<size_t>(tokens.size() * 64));
    }
  }
}

TEST_P(SharesTest, AreAllThatIsRead) {
  const LoadedModel whole = Load({});
  uint64_t shared = 0;  // what every rank must read
  for (const TensorNeed& need : NeededTensors(**FindArch("LlamaForCausalLM"), config_)) {
    const uint64_t elements = std::accumulate(need.shape.begin(),
                                              need.shape.end(),
                                              uint64_t{1},
                                              std::multiplies<uint64_t>());
    if (need.share.whole()) shared += elements * (std::string(GetParam()) == "dummy" ? 4 : 2);
  }
  for (const int size : {2, 4}) {
    uint64_t sum = 0;
    for (int rank = 0; rank < size; ++rank) sum += Load({rank, size}).bytes_read - shared;
    // Two KV heads are read twice by four ranks: k, v and their biases, of two layers.
    const uint64_t element = std::string(GetParam()) == "dummy" ? 4 : 2;
    const uint64_t repeated = size == 4 ? 2 * 2 * (64 * 64 + 64) * element : 0;
    EXPECT_EQ(sum, whole.bytes_read - shared + repeated);
  }
}

TEST_P(SharesTest, HashToTheSameForEveryNumberOfRanks) {
  const LoadedModel whole = Load({});
  for (const int size : {2, 4}) {
    uint64_t divided = 0;
    for (int rank = 0; rank < size; ++rank) {
      const LoadedModel part = Load({rank, size});
      EXPECT_EQ(part.identity, whole.identity);
      divided ^= part.divided_hash;
    }
    EXPECT_EQ(divided, whole.divided_hash);
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, SharesTest, ::testing::Values("auto", "dummy"));

TEST(ShareHashTest, KnowsEveryDividedElementAndItsPlace) {
  testing::TempDir dir;
  testing::WriteShardableModel(dir.path());
  FakeBackend backend;
  const auto load = [&] {
    LoadOptions options;
    options.directory = dir.path();
    auto model = LoadModel(options, backend, [](uint64_t, uint64_t) {});
    CHECK_OK(model);
    return std::pair(model->identity, model->divided_hash);
  };
  const auto before = load();
  testing::TestTensors tensors = testing::ShardableWeights();
  std::string& down = tensors["model.layers.0.mlp.down_proj.weight"].bytes;
  // Two K-slices change places: the same bytes, elsewhere.
  for (size_t row = 0; row < 64; ++row) {
    std::swap_ranges(&down[row * 256], &down[row * 256 + 64], &down[row * 256 + 64]);
  }
  testing::WriteFile(dir.File("model.safetensors"), testing::SafetensorsBytes(tensors));
  const auto after = load();
  EXPECT_EQ(after.first, before.first);
  EXPECT_NE(after.second, before.second);

  tensors = testing::ShardableWeights();
  tensors["model.norm.weight"].bytes[5] ^= 1;
  testing::WriteFile(dir.File("model.safetensors"), testing::SafetensorsBytes(tensors));
  EXPECT_NE(load().first, before.first);
  EXPECT_EQ(load().second, before.second);
}

}  // namespace
}  // namespace pagoda
