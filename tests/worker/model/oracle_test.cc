// The decoder on the CPU backend against the logits that PyTorch computed (tests/golden/oracle).
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "common/check.h"
#include "gtest/gtest.h"
#include "kernels/backend.h"
#include "kernels/comm/communicator.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/isa.h"
#include "nlohmann/json.hpp"
#include "tests/worker/model/model_files.h"
#include "worker/model/decoder.h"

namespace pagoda {
namespace {

struct Fixture {
  std::string directory;
  std::vector<int32_t> input_ids;
  std::vector<int32_t> positions;
  int64_t vocab_size = 0;
  double allowed = 0;           // largest difference of a logit
  std::vector<float> expected;  // [positions][vocab_size]
};

Fixture ReadFixture(const std::string& name) {
  Fixture fixture;
  fixture.directory = "tests/golden/oracle/llama_" + name;
  const nlohmann::json json =
      nlohmann::json::parse(testing::ReadFile(fixture.directory + "/expected.json"));
  fixture.input_ids = json.at("input_ids").get<std::vector<int32_t>>();
  fixture.positions = json.at("positions").get<std::vector<int32_t>>();
  fixture.vocab_size = json.at("vocab_size").get<int64_t>();
  fixture.allowed =
      json.at("tolerance").get<double>() * std::max(1.0, json.at("max_abs_logit").get<double>());
  const std::string bytes = testing::ReadFile(fixture.directory + "/expected.f32");
  fixture.expected.resize(bytes.size() / sizeof(float));
  std::memcpy(fixture.expected.data(), bytes.data(), bytes.size());
  CHECK_EQ(fixture.expected.size(), fixture.positions.size() * fixture.vocab_size);
  return fixture;
}

struct Way {
  std::string isa;
  int32_t chunk;  // tokens of a step
  int32_t block_size;
};

// The logits at every position, [tokens][vocab], of one prompt read in chunks.
class Runner {
 public:
  Runner(const Fixture& fixture, const Way& way) : fixture_(fixture), way_(way) {
    absl::StatusOr<std::unique_ptr<Backend>> backend =
        cpu::MakeCpuBackend({.threads = 1, .isa = way.isa});
    CHECK_OK(backend);
    backend_ = *std::move(backend);
    LoadOptions options;
    options.directory = fixture.directory;
    options.dtype = "float32";
    options.backend_kind = "cpu";
    absl::StatusOr<LoadedModel> model = LoadModel(options, *backend_, [](uint64_t, uint64_t) {});
    CHECK_OK(model);
    decoder_ = std::make_unique<Decoder>(*backend_, *std::move(model));
    Configure();
  }

  std::vector<float> Logits() {
    std::vector<float> logits;
    const int32_t tokens = static_cast<int32_t>(fixture_.input_ids.size());
    for (int32_t start = 0; start < tokens; start += way_.chunk) {
      Step(start, std::min(way_.chunk, tokens - start), &logits);
    }
    return logits;
  }

 private:
  void Configure() {
    const int32_t tokens = static_cast<int32_t>(fixture_.input_ids.size());
    StepLimits limits;
    limits.max_tokens = way_.chunk;
    limits.max_lanes = 1;
    limits.max_logits_rows = way_.chunk;
    limits.max_sample_rows = 1;
    limits.max_model_len = tokens;
    limits.vocab_size = static_cast<int32_t>(fixture_.vocab_size);
    CHECK_OK(backend_->Configure(limits));
    CHECK_OK(decoder_->Configure(limits));
    const int32_t blocks = (tokens + way_.block_size - 1) / way_.block_size;
    absl::StatusOr<std::unique_ptr<KvPool>> pool =
        backend_->MakeKvPool(decoder_->MakeKvLayout(way_.block_size), blocks + 1);
    CHECK_OK(pool);
    pool_ = *std::move(pool);
    // Any order but the obvious one.
    table_.resize(blocks);
    std::iota(table_.rbegin(), table_.rend(), 1);
  }

  void Step(int32_t start, int32_t count, std::vector<float>* logits) {
    SequenceInput sequence;
    sequence.start = start;
    sequence.num_tokens = count;
    sequence.tokens = absl::MakeConstSpan(fixture_.input_ids).subspan(start, count);
    sequence.block_table = table_;
    sequence.window = decoder_->window();
    std::vector<LogitsRow> rows(count);
    for (int32_t i = 0; i < count; ++i) rows[i].token_offset = i;
    const StepInput input = {.sequences = absl::MakeConstSpan(&sequence, 1), .logits_rows = rows};
    absl::StatusOr<PreparedStep*> step = backend_->Prepare(input, *pool_);
    CHECK_OK(step);
    CHECK_OK(backend_->Run(**step, [&](LayerOps& ops) {
      return decoder_->Forward(ops, count, count, *pool_, nullptr);
    }));
    const TensorView view = decoder_->Logits(count);
    for (int32_t i = 0; i < count; ++i) {
      logits->insert(logits->end(), view.Row<float>(i), view.Row<float>(i) + view.cols);
    }
    backend_->Sample(**step, view, {});
    CHECK_OK(backend_->Collect(**step));
  }

  const Fixture& fixture_;
  const Way way_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Decoder> decoder_;
  std::unique_ptr<KvPool> pool_;
  std::vector<int32_t> table_;
};

std::vector<Way> Ways(int32_t tokens) {
  std::vector<Way> ways;
  for (const cpu::Isa isa : cpu::SupportedIsas()) {
    ways.push_back({cpu::IsaName(isa), tokens, 16});
    ways.push_back({cpu::IsaName(isa), 37, 8});
  }
  return ways;
}

class OracleTest : public ::testing::TestWithParam<std::string> {};

TEST_P(OracleTest, LogitsAreThoseOfPyTorch) {
  const Fixture fixture = ReadFixture(GetParam());
  const std::vector<Way> ways = Ways(static_cast<int32_t>(fixture.input_ids.size()));
  const std::vector<float> logits = Runner(fixture, ways[0]).Logits();
  ASSERT_EQ(logits.size(), fixture.input_ids.size() * fixture.vocab_size);
  double worst = 0;
  for (size_t row = 0; row < fixture.positions.size(); ++row) {
    for (int64_t id = 0; id < fixture.vocab_size; ++id) {
      const double got = logits[fixture.positions[row] * fixture.vocab_size + id];
      const double difference = std::abs(got - fixture.expected[row * fixture.vocab_size + id]);
      ASSERT_LE(difference, fixture.allowed)
          << "position " << fixture.positions[row] << ", id " << id << ", got " << got;
      worst = std::max(worst, difference);
    }
  }
  RecordProperty("worst_share_of_tolerance", std::to_string(worst / fixture.allowed));
  for (size_t i = 1; i < ways.size(); ++i) {
    const std::vector<float> other = Runner(fixture, ways[i]).Logits();
    ASSERT_EQ(other.size(), logits.size());
    EXPECT_EQ(std::memcmp(other.data(), logits.data(), logits.size() * sizeof(float)), 0)
        << ways[i].isa << ", chunks of " << ways[i].chunk << ", blocks of " << ways[i].block_size;
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures,
                         OracleTest,
                         ::testing::Values("tied_mha",
                                           "untied_gqa4",
                                           "gqa8_llama3",
                                           "untied_llama3",
                                           "linear",
                                           "linear_type",
                                           "head128",
                                           "bias",
                                           "sharded_gqa4",
                                           "first",
                                           "long"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace pagoda
