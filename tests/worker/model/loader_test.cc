#include "worker/model/loader.h"

#include <algorithm>
#include <filesystem>
#include <functional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/model/fake_backend.h"
#include "tests/worker/model/model_files.h"

namespace pagoda {
namespace {

using testing::FakeBackend;
using testing::FakeEmbedding;
using testing::FakeLinear;
using testing::FakeNorm;
using ::testing::HasSubstr;
using testing::SafetensorsBytes;
using testing::TempDir;
using testing::TestTensors;
using testing::TinyConfig;
using testing::TinyWeights;
using testing::WriteFile;

void Silent(uint64_t, uint64_t) {}

class LoaderTest : public ::testing::Test {
 protected:
  LoaderTest() {
    options_.directory = dir_.path();
    options_.backend_kind = "fake";
    options_.numeric_contract = 1;
    testing::WriteTinyModel(dir_.path(), /*tied=*/false);
  }
  absl::StatusOr<LoadedModel> Load() { return LoadModel(options_, backend_, Silent); }
  void WriteWeights(const TestTensors& tensors) {
    WriteFile(dir_.File("model.safetensors"), SafetensorsBytes(tensors));
  }
  // The error of loading with the tiny weights changed.
  std::string ErrorWith(const std::function<void(TestTensors&)>& change) {
    TestTensors tensors = TinyWeights(false);
    change(tensors);
    WriteWeights(tensors);
    const absl::Status status = Load().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  }
  // What a fingerprint is made of.
  std::pair<uint64_t, uint64_t> Hashes() {
    const auto model = Load();
    EXPECT_TRUE(model.ok()) << model.status();
    return model.ok() ? std::pair(model->identity, model->divided_hash) : std::pair(0ul, 0ul);
  }

  TempDir dir_;
  LoadOptions options_;
  FakeBackend backend_;
};

// The values of tiny tensors, one after the other.
std::vector<float> Values(const std::vector<std::string>& names, bool tied = false) {
  const TestTensors tensors = TinyWeights(tied);
  std::vector<float> values;
  for (const std::string& name : names) {
    const testing::TestTensor& tensor = tensors.at(name + ".weight");
    const int64_t count = static_cast<int64_t>(tensor.bytes.size()) / 2;
    testing::AppendValues({tensor.bytes.data(), DType::kBf16, 1, count, count}, &values);
  }
  return values;
}

const FakeLinear& Linear(const std::unique_ptr<LinearWeight>& weight) {
  return dynamic_cast<const FakeLinear&>(*weight);
}

TEST_F(LoaderTest, EachWeightIsPackedFromItsTensors) {
  const auto model = Load();
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->dtype, DType::kBf16);
  ASSERT_EQ(model->weights.layers.size(), 2u);
  const LayerWeights& layer = model->weights.layers[1];
  const std::string prefix = "model.layers.1.";
  const FakeLinear& qkv = Linear(layer.qkv);
  EXPECT_EQ(
      qkv.values,
      Values(
          {prefix + "self_attn.q_proj", prefix + "self_attn.k_proj", prefix + "self_attn.v_proj"}));
  EXPECT_EQ(qkv.out(), 64);
  EXPECT_EQ(qkv.spec.partition, Partition::kColumn);
  EXPECT_EQ(qkv.spec.epilogue, Epilogue::kStore);
  const FakeLinear& gate_up = Linear(layer.gate_up);
  EXPECT_EQ(gate_up.values, Values({prefix + "mlp.gate_proj", prefix + "mlp.up_proj"}));
  EXPECT_EQ(gate_up.spec.epilogue, Epilogue::kSiluMul);
  EXPECT_EQ(Linear(layer.o).values, Values({prefix + "self_attn.o_proj"}));
  EXPECT_EQ(Linear(layer.o).spec.partition, Partition::kRow);
  EXPECT_EQ(Linear(layer.down).values, Values({prefix + "mlp.down_proj"}));
  EXPECT_EQ(Linear(layer.down).spec.partition, Partition::kRow);
  EXPECT_EQ(Linear(layer.down).spec.in, 48);
  EXPECT_EQ(dynamic_cast<const FakeNorm&>(*layer.attention_norm).values,
            Values({prefix + "input_layernorm"}));
  EXPECT_EQ(dynamic_cast<const FakeNorm&>(*layer.mlp_norm).values,
            Values({prefix + "post_attention_layernorm"}));
  EXPECT_EQ(dynamic_cast<const FakeNorm&>(*model->weights.final_norm).values,
            Values({"model.norm"}));
  EXPECT_EQ(dynamic_cast<const FakeEmbedding&>(*model->weights.embedding).values,
            Values({"model.embed_tokens"}));
  EXPECT_EQ(Linear(model->weights.lm_head).values, Values({"lm_head"}));
}

TEST_F(LoaderTest, ATiedHeadIsTheEmbeddingUnderEitherName) {
  WriteFile(dir_.File("config.json"), TinyConfig(true));
  const std::vector<float> table = Values({"model.embed_tokens"}, true);
  TestTensors tensors = TinyWeights(true);
  WriteWeights(tensors);
  auto model = Load();
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(Linear(model->weights.lm_head).values, table);
  const auto hashes = Hashes();

  auto node = tensors.extract("model.embed_tokens.weight");
  node.key() = "lm_head.weight";
  tensors.insert(std::move(node));
  WriteWeights(tensors);
  model = Load();
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(Linear(model->weights.lm_head).values, table);
  EXPECT_EQ(dynamic_cast<const FakeEmbedding&>(*model->weights.embedding).values, table);
  EXPECT_EQ(Hashes(), hashes);
}

TEST_F(LoaderTest, DtypesAreConverted) {
  TestTensors tensors = TinyWeights(false);
  const std::vector<float> table = Values({"model.embed_tokens"});
  std::vector<float> fine = table;
  for (float& value : fine) value += 0x1p-20f;  // bf16 rounds it away
  tensors["model.embed_tokens.weight"] = testing::F32Tensor({16, 32}, fine);
  WriteWeights(tensors);
  options_.dtype = "bfloat16";
  auto model = Load();
  ASSERT_TRUE(model.ok()) << model.status();
  std::vector<float> rounded = fine;
  for (float& value : rounded) value = Bf16ToF32(F32ToBf16(value));
  EXPECT_EQ(dynamic_cast<const FakeEmbedding&>(*model->weights.embedding).values, rounded);
  EXPECT_NE(rounded, fine);
  options_.dtype = "float32";
  model = Load();
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->dtype, DType::kF32);
  EXPECT_EQ(Linear(model->weights.lm_head).spec.dtype, DType::kF32);
  EXPECT_EQ(dynamic_cast<const FakeEmbedding&>(*model->weights.embedding).values, fine);
}

TEST_F(LoaderTest, Float16EmbeddingsAreWidenedExactly) {
  TestTensors tensors = TinyWeights(false);
  testing::TestTensor& table = tensors["model.embed_tokens.weight"];
  table.dtype = "F16";
  std::vector<float> expected;
  for (int i = 0; i < 16 * 32; ++i) {
    const uint16_t bits = static_cast<uint16_t>(i * 61);  // denormals and normals
    std::memcpy(table.bytes.data() + 2 * i, &bits, sizeof(bits));
    expected.push_back(F16ToF32(bits));
  }
  WriteWeights(tensors);
  options_.dtype = "float32";
  const auto model = Load();
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(dynamic_cast<const FakeEmbedding&>(*model->weights.embedding).values, expected);
}

TEST_F(LoaderTest, TensorsThatDoNotFitAreNamed) {
  EXPECT_THAT(ErrorWith([](TestTensors& t) { t.erase("model.norm.weight"); }),
              HasSubstr("1 missing tensor: \"model.norm.weight\""));
  EXPECT_THAT(ErrorWith([](TestTensors& t) { t.erase("lm_head.weight"); }),
              HasSubstr("1 missing tensor: \"lm_head.weight\""));
  EXPECT_THAT(ErrorWith([](TestTensors& t) { t["extra"] = t["model.norm.weight"]; }),
              HasSubstr("1 unexpected tensor: \"extra\""));
  EXPECT_THAT(ErrorWith([](TestTensors& t) {
                t["model.norm.weight"].shape = {4, 8};
              }),
              HasSubstr("\"model.norm.weight\" is BF16[4, 8], expected BF16, F16 or F32[32]"));
  EXPECT_THAT(ErrorWith([](TestTensors& t) { t["model.norm.weight"].dtype = "I16"; }),
              HasSubstr("\"model.norm.weight\" is I16[32]"));
  const std::string all = ErrorWith([](TestTensors& t) {
    std::erase_if(t,
                  [](const auto& item) { return item.first.find("layers.1") != item.first.npos; });
    t["x"] = t["model.norm.weight"];
  });
  EXPECT_THAT(all, HasSubstr("9 missing tensors: "));
  EXPECT_THAT(all, HasSubstr("; 1 unexpected tensor: \"x\""));
}

TEST_F(LoaderTest, RopeBuffersOfOldCheckpointsAreSkipped) {
  TestTensors tensors = TinyWeights(false);
  tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = testing::F32Tensor({2}, {1, 2});
  WriteWeights(tensors);
  EXPECT_TRUE(Load().ok());
}

TEST_F(LoaderTest, BiasesReachTheLinearsThatHaveThem) {
  std::string config = TinyConfig(false);
  config.insert(1, "\"attention_bias\": true, ");
  WriteFile(dir_.File("config.json"), config);
  TestTensors tensors = TinyWeights(false);
  for (const std::string layer : {"model.layers.0.self_attn.", "model.layers.1.self_attn."}) {
    for (const auto& [name, size] :
         {std::pair{"q_proj", 32}, {"k_proj", 16}, {"v_proj", 16}, {"o_proj", 32}}) {
      tensors[layer + name + ".bias"] =
          testing::F32Tensor({size}, std::vector<float>(size, static_cast<float>(name[0])));
    }
  }
  WriteWeights(tensors);
  const auto model = Load();
  ASSERT_TRUE(model.ok()) << model.status();
  const LayerWeights& layer = model->weights.layers[0];
  std::vector<float> expected(32, 'q');
  expected.insert(expected.end(), 16, 'k');
  expected.insert(expected.end(), 16, 'v');
  EXPECT_EQ(Linear(layer.qkv).biases, expected);
  EXPECT_EQ(Linear(layer.o).biases, std::vector<float>(32, 'o'));
  EXPECT_TRUE(Linear(layer.down).biases.empty());
}

TEST_F(LoaderTest, ProgressGrowsToTheBytesOfAllTensors) {
  uint64_t expected = 0;
  for (const auto& [name, tensor] : TinyWeights(false)) expected += tensor.bytes.size();
  std::vector<uint64_t> seen;
  const auto model = LoadModel(options_, backend_, [&](uint64_t read, uint64_t total) {
    EXPECT_EQ(total, expected);
    seen.push_back(read);
  });
  ASSERT_TRUE(model.ok());
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_EQ(seen.back(), expected);
  EXPECT_EQ(model->bytes_read, expected);
}

TEST_F(LoaderTest, AFileThatShrinksDuringTheLoadIsAnError) {
  int calls = 0;
  const auto model = LoadModel(options_, backend_, [&](uint64_t, uint64_t) {
    if (++calls == 3) std::filesystem::resize_file(dir_.File("model.safetensors"), 100);
  });
  EXPECT_EQ(model.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(calls, 3);
}

TEST_F(LoaderTest, AFileThatIsWrittenAfterItsLastReadIsAnError) {
  const auto model = LoadModel(options_, backend_, [&](uint64_t read, uint64_t total) {
    if (read != total) return;
    std::filesystem::resize_file(dir_.File("model.safetensors"), 1 << 20);
  });
  EXPECT_EQ(model.status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(LoaderTest, TheFingerprintDependsOnWhatDecidesOutputsAndOnNothingElse) {
  const auto base = Hashes();
  EXPECT_EQ(Hashes(), base);
  WriteFile(dir_.File("generation_config.json"), R"({"temperature": 0.5})");
  EXPECT_EQ(Hashes(), base);

  std::vector<std::pair<uint64_t, uint64_t>> all = {base};
  options_.dtype = "float32";
  all.push_back(Hashes());
  options_.dtype = "auto";
  options_.numeric_contract = 2;
  all.push_back(Hashes());
  options_.numeric_contract = 1;
  options_.backend_kind = "cuda sm_90";
  all.push_back(Hashes());
  options_.backend_kind = "fake";
  TestTensors tensors = TinyWeights(false);
  tensors["model.norm.weight"].bytes[5] ^= 1;
  WriteWeights(tensors);
  all.push_back(Hashes());
  std::swap(tensors["model.layers.0.self_attn.k_proj.weight"],
            tensors["model.layers.0.self_attn.v_proj.weight"]);
  WriteWeights(tensors);
  all.push_back(Hashes());
  std::string config = TinyConfig(false);
  config.replace(config.find("10000.0"), 7, "20000.0");
  WriteFile(dir_.File("config.json"), config);
  all.push_back(Hashes());
  std::sort(all.begin(), all.end());
  EXPECT_EQ(std::unique(all.begin(), all.end()), all.end());
}

TEST_F(LoaderTest, AShardedCheckpointHasTheFingerprintOfTheSameTensorsInOneFile) {
  const auto base = Hashes();
  TestTensors parts[2];
  std::string map;
  int i = 0;
  for (const auto& [name, tensor] : TinyWeights(false)) {
    map += (map.empty() ? "\"" : ", \"") + name + "\": \"part" + std::to_string(i % 2) + "\"";
    parts[i++ % 2][name] = tensor;
  }
  std::filesystem::remove(dir_.File("model.safetensors"));
  WriteFile(dir_.File("part0"), SafetensorsBytes(parts[0]));
  WriteFile(dir_.File("part1"), SafetensorsBytes(parts[1]));
  WriteFile(dir_.File("model.safetensors.index.json"), "{\"weight_map\": {" + map + "}}");
  EXPECT_EQ(Hashes(), base);
}

TEST_F(LoaderTest, ModelsBeyondTheMemoryLimitAreRefusedBeforeReading) {
  options_.memory_limit_bytes = 1000;
  const absl::Status status = LoadModel(options_, backend_, [](uint64_t, uint64_t) {
                                ADD_FAILURE() << "a tensor was read";
                              }).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("1000 are available"));
}

TEST_F(LoaderTest, BadOptionsAreRefusedByName) {
  options_.load_format = "pickle";
  EXPECT_THAT(std::string(Load().status().message()),
              HasSubstr("--load-format is \"pickle\", expected auto or dummy"));
  options_.load_format = "auto";
  options_.dtype = "int4";
  EXPECT_THAT(std::string(Load().status().message()), HasSubstr("--dtype is \"int4\""));
  options_.dtype = "auto";
  options_.shard = {.rank = 0, .size = 3};
  EXPECT_EQ(Load().status().code(), absl::StatusCode::kInvalidArgument);
  options_.shard = {};
  options_.directory = "/nonexistent";
  EXPECT_EQ(Load().status().code(), absl::StatusCode::kNotFound);
}

TEST_F(LoaderTest, DummyWeightsNeedNoFilesAndAreTheSameEveryTime) {
  std::filesystem::remove(dir_.File("model.safetensors"));
  options_.load_format = "dummy";
  const auto a = Load(), b = Load();
  ASSERT_TRUE(a.ok() && b.ok()) << a.status() << b.status();
  EXPECT_EQ(Linear(a->weights.layers[1].down).values, Linear(b->weights.layers[1].down).values);
  EXPECT_NE(Linear(a->weights.layers[0].down).values, Linear(a->weights.layers[1].down).values);
  EXPECT_EQ(a->identity, b->identity);
  options_.dtype = "float32";
  EXPECT_NE(Hashes().first, a->identity);
}

TEST(ResolveDtypeTest, AutoFollowsTheConfigurationThenTheFiles) {
  EXPECT_EQ(ResolveDtype("auto", "bfloat16", "float32")->dtype, DType::kBf16);
  EXPECT_EQ(ResolveDtype("auto", "float32", "bfloat16")->dtype, DType::kF32);
  EXPECT_EQ(ResolveDtype("auto", "", "bfloat16")->dtype, DType::kBf16);
  EXPECT_EQ(ResolveDtype("float32", "bfloat16", "bfloat16")->dtype, DType::kF32);
  EXPECT_EQ(ResolveDtype("bfloat16", "nonsense", "float32")->dtype, DType::kBf16);
  const auto half = ResolveDtype("auto", "float16", "float16");
  EXPECT_EQ(half->dtype, DType::kF32);
  EXPECT_THAT(half->note, HasSubstr("float16 weights are computed in float32"));
  EXPECT_THAT(std::string(ResolveDtype("auto", "int8", "bfloat16").status().message()),
              HasSubstr("\"dtype\" is \"int8\""));
}

}  // namespace
}  // namespace pagoda
