// The backend as the runner uses it: whole steps of a tiny model.
#include "kernels/cpu/cpu_backend.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/comm/communicator.h"
#include "kernels/comm/single.h"
#include "kernels/cpu/isa.h"
#include "tests/kernels/cpu/tiny_model.h"

namespace pagoda::cpu {
namespace {

using pagoda::testing::TinyModel;

struct Setting {
  DType dtype = DType::kBf16;
  std::string isa = "auto";
  int threads = 1;
  int block_size = 16;
};

std::vector<int32_t> Tokens(int count, int seed) {
  std::vector<int32_t> tokens;
  for (int i = 0; i < count; ++i) tokens.push_back((i * 7 + seed * 13 + i * i) % TinyModel::kVocab);
  return tokens;
}

// A backend, the model and a pool whose unused blocks hold NaN.
class World {
 public:
  explicit World(const Setting& setting)
      : backend_(*MakeCpuBackend({.threads = setting.threads, .isa = setting.isa})),
        model_(backend_.get(), setting.dtype),
        pool_(*backend_->MakeKvPool(model_.Layout(setting.block_size), kBlocks)) {
    for (int i = 0; i < kBlocks; ++i) {
      std::memset(pool_->block(i), 0xff, pool_->layout().BlockBytes());
    }
  }

  // Table of a sequence, physical blocks scattered by `seed`.
  std::vector<int32_t> Table(int seed) const {
    std::vector<int32_t> table(kMaxTable);
    for (int i = 0; i < kMaxTable; ++i) table[i] = 1 + (i * 11 + seed * kMaxTable) % (kBlocks - 1);
    return table;
  }

  // Runs a step; logits rows afterwards.
  std::vector<std::vector<float>> Step(const std::vector<SequenceInput>& sequences,
                                       const std::vector<LogitsRow>& logits,
                                       const std::vector<SampleRow>& samples = {}) {
    auto step = backend_->Prepare({.sequences = sequences, .logits_rows = logits}, *pool_);
    CHECK_OK(step);
    CHECK_OK(
        backend_->Run(**step, [&](LayerOps& ops) { return model_.Forward(ops, **step, *pool_); }));
    std::vector<std::vector<float>> rows;
    for (size_t i = 0; i < logits.size(); ++i) {
      const float* row = model_.logits().Row<float>(static_cast<int64_t>(i));
      rows.emplace_back(row, row + TinyModel::kVocab);
    }
    CHECK_OK(backend_->Sample(**step,
                              model_.logits().Rows(0, (*step)->num_logits_rows()),
                              samples,
                              *comm_));
    auto output = backend_->Collect(**step);
    CHECK_OK(output);
    output_ = **output;
    return rows;
  }

  // Logits of the last of `tokens`, prefilled in chunks.
  std::vector<float> Prefill(const std::vector<int32_t>& tokens, int chunk, int lane = 0) {
    const std::vector<int32_t> table = Table(lane);
    std::vector<float> last;
    for (int begin = 0; begin < static_cast<int>(tokens.size()); begin += chunk) {
      const int count = std::min<int>(chunk, static_cast<int>(tokens.size()) - begin);
      last = Step({{.lane = lane,
                    .start = begin,
                    .num_tokens = count,
                    .tokens = absl::MakeSpan(tokens).subspan(begin, count),
                    .block_table = table}},
                  {{0, count - 1}})[0];
    }
    return last;
  }

  Backend& backend() { return *backend_; }
  KvPool& pool() { return *pool_; }
  TinyModel& model() { return model_; }
  const StepOutput& output() const { return output_; }

 private:
  static constexpr int kBlocks = 256, kMaxTable = 50;

  std::unique_ptr<Backend> backend_;
  TinyModel model_;
  std::unique_ptr<KvPool> pool_;
  const std::unique_ptr<Communicator> comm_ = MakeSingleCommunicator();
  StepOutput output_;
};

TEST(CpuBackendTest, AWholeModelAgreesWithTheNaiveOne) {
  struct Tolerance {
    DType dtype;
    double absolute;  // logits are of order 3
  };
  for (const Tolerance& test : {Tolerance{DType::kF32, 1e-4}, {DType::kBf16, 0.2}}) {
    World world({.dtype = test.dtype, .threads = 2});
    const std::vector<int32_t> tokens = Tokens(45, 1);
    const std::vector<float> got = world.Prefill(tokens, 20);
    const std::vector<double> want = world.model().Naive(tokens);
    for (int i = 0; i < TinyModel::kVocab; ++i) {
      EXPECT_NEAR(got[i], want[i], test.absolute) << DTypeName(test.dtype) << " " << i;
    }
  }
}

TEST(CpuBackendTest, NeitherThreadsNorIsaNorChunksNorBlockSizesChangeABit) {
  for (DType dtype : {DType::kF32, DType::kBf16}) {
    const std::vector<int32_t> tokens = Tokens(70, 2);
    const std::vector<float> want = World({.dtype = dtype}).Prefill(tokens, 64);
    for (Isa isa : SupportedIsas()) {
      for (int threads : {1, 2, 3}) {
        World world({.dtype = dtype, .isa = IsaName(isa), .threads = threads});
        EXPECT_EQ(world.Prefill(tokens, 64), want) << IsaName(isa) << ", " << threads;
      }
    }
    for (int block_size : {8, 32, 128}) {
      EXPECT_EQ(World({.dtype = dtype, .block_size = block_size}).Prefill(tokens, 64), want);
    }
    for (int chunk : {1, 7, 16}) EXPECT_EQ(World({.dtype = dtype}).Prefill(tokens, chunk), want);
  }
}

TEST(CpuBackendTest, ASequenceIsTheSameAloneAndInAMixedBatch) {
  const std::vector<int32_t> a = Tokens(23, 3), b = Tokens(9, 4), c = Tokens(30, 5);
  std::vector<std::vector<float>> alone;
  for (const auto& tokens : {a, b, c}) alone.push_back(World({.threads = 2}).Prefill(tokens, 64));

  World world({.threads = 2});
  // Lane 0 has all but its last token in the cache; the others come whole.
  world.Prefill({a.begin(), a.end() - 1}, 64, 0);
  const std::vector<int32_t> tables[] = {world.Table(0), world.Table(1), world.Table(2)};
  const auto logits = world.Step(
      {{.lane = 2, .num_tokens = 30, .tokens = c, .block_table = tables[2]},
       {.lane = 0, .start = 22, .num_tokens = 1, .tokens = {&a[22], 1}, .block_table = tables[0]},
       {.lane = 1, .num_tokens = 9, .tokens = b, .block_table = tables[1]}},
      {{1, 0}, {2, 8}, {0, 29}});
  EXPECT_EQ(logits, alone);
}

TEST(CpuBackendTest, ALaneGoesOnFromTheTokenItDrew) {
  const std::vector<int32_t> prompt = Tokens(12, 6);
  World world({.threads = 2});
  const std::vector<int32_t> table = world.Table(0);
  const std::vector<float> first =
      world.Step({{.num_tokens = 12, .tokens = prompt, .block_table = table}},
                 {{0, 11}},
                 {{.logits_row = 0, .lane = 0, .position = 12}})[0];
  ASSERT_EQ(world.output().tokens.size(), 1u);
  const int32_t drawn = world.output().tokens[0].token;
  EXPECT_EQ(drawn, std::max_element(first.begin(), first.end()) - first.begin());
  const std::vector<float> next =
      world.Step({{.start = 12, .num_tokens = 1, .block_table = table}}, {{0, 0}})[0];
  std::vector<int32_t> all = prompt;
  all.push_back(drawn);
  EXPECT_EQ(next, World({}).Prefill(all, 64));
}

TEST(CpuBackendTest, ForksAndBindsSetTheLanesToken) {
  const std::vector<int32_t> prompt = Tokens(12, 7);
  World world({});
  const std::vector<int32_t> table = world.Table(0);
  const std::vector<float> want = world.Prefill(prompt, 64);
  world.Prefill({prompt.begin(), prompt.end() - 1}, 64);
  world.backend().SetLaneToken(0, prompt.back());
  world.backend().CopyLaneToken(0, 3);
  for (int lane : {0, 3}) {
    EXPECT_EQ(world.Step({{.lane = lane, .start = 11, .num_tokens = 1, .block_table = table}},
                         {{0, 0}})[0],
              want)
        << lane;
  }
}

TEST(CpuBackendTest, SeveralLanesDrawFromOneLogitsRow) {
  World world({.threads = 2});
  const std::vector<int32_t> prompt = Tokens(5, 8), table = world.Table(0);
  std::vector<SampleRow> samples;
  for (int lane = 0; lane < 4; ++lane) {
    samples.push_back({.logits_row = 0,
                       .lane = lane,
                       .params = {.temperature = 3, .seed = 5, .logprobs = lane},
                       .position = 5,
                       .sequence_index = lane});
  }
  const auto logits =
      world.Step({{.num_tokens = 5, .tokens = prompt, .block_table = table}}, {{0, 4}}, samples);
  const StepOutput& output = world.output();
  ASSERT_EQ(output.tokens.size(), 4u);
  EXPECT_EQ(output.top.size(), 0u + 1 + 2 + 3);
  double total = 0;
  for (float logit : logits[0]) total += std::exp(static_cast<double>(logit));
  int begin = 0;
  for (int lane = 0; lane < 4; ++lane) {
    const SampledToken& token = output.tokens[lane];
    EXPECT_NEAR(token.logprob, logits[0][token.token] - std::log(total), 1e-4);
    EXPECT_EQ(token.top_count, lane);
    if (lane > 0) {
      EXPECT_EQ(token.top_begin, begin);
    }
    for (int i = 1; i < token.top_count; ++i) {
      EXPECT_GE(output.top[begin + i - 1].logprob, output.top[begin + i].logprob);
    }
    begin += lane;
  }
}

TEST(CpuBackendTest, UnusableLogitsAreToldAndTheLaneGoesOn) {
  World world({});
  const std::vector<int32_t> prompt = Tokens(5, 9), table = world.Table(0);
  const SequenceInput sequence{.num_tokens = 5, .tokens = prompt, .block_table = table};
  const LogitsRow row{0, 4};
  auto step = world.backend().Prepare({.sequences = {&sequence, 1}, .logits_rows = {&row, 1}},
                                      world.pool());
  ASSERT_TRUE(step.ok());
  ASSERT_TRUE(
      world.backend()
          .Run(**step,
               [&](LayerOps& ops) { return world.model().Forward(ops, **step, world.pool()); })
          .ok());
  world.model().logits().Row<float>(0)[3] = std::numeric_limits<float>::quiet_NaN();
  const SampleRow sample{.logits_row = 0, .lane = 0, .position = 5};
  ASSERT_TRUE(world.backend()
                  .Sample(**step,
                          world.model().logits().Rows(0, 1),
                          {&sample, 1},
                          *MakeSingleCommunicator())
                  .ok());
  const auto output = world.backend().Collect(**step);
  ASSERT_TRUE(output.ok());
  EXPECT_EQ((*output)->tokens[0].token, -1);
  world.Step({{.start = 5, .num_tokens = 1, .block_table = table}}, {});
}

TEST(CpuBackendTest, ABodysErrorIsRunsError) {
  World world({.threads = 2});
  const std::vector<int32_t> prompt = Tokens(2, 1), table = world.Table(0);
  const SequenceInput sequence{.num_tokens = 2, .tokens = prompt, .block_table = table};
  auto step = world.backend().Prepare({.sequences = {&sequence, 1}}, world.pool());
  ASSERT_TRUE(step.ok());
  EXPECT_EQ(world.backend().Run(**step, [](LayerOps&) { return absl::AbortedError("peer"); }),
            absl::AbortedError("peer"));
}

TEST(CpuBackendTest, ALaneWithoutATokenAndABadStepAreStatuses) {
  World world({});
  const std::vector<int32_t> table = world.Table(0);
  SequenceInput sequence{.start = 3, .num_tokens = 1, .block_table = table};
  auto step = world.backend().Prepare({.sequences = {&sequence, 1}}, world.pool());
  ASSERT_TRUE(step.ok());
  EXPECT_EQ(world.backend().Run(**step, [](LayerOps&) { return absl::OkStatus(); }).code(),
            absl::StatusCode::kFailedPrecondition);
  sequence.lane = TinyModel::kMaxLanes;
  EXPECT_EQ(world.backend().Prepare({.sequences = {&sequence, 1}}, world.pool()).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(CpuBackendTest, BlocksAreCopiedAndZeroed) {
  World world({.threads = 2});
  const size_t bytes = world.pool().layout().BlockBytes();
  std::memset(world.pool().block(3), 0x11, bytes);
  const std::vector<BlockCopy> copies = {{3, 5}, {5, 7}};
  world.backend().CopyBlocks(world.pool(), copies);
  EXPECT_EQ(std::memcmp(world.pool().block(3), world.pool().block(7), bytes), 0);
  const std::vector<int32_t> zeroed = {5};
  world.backend().ZeroBlocks(world.pool(), zeroed);
  EXPECT_EQ(static_cast<const char*>(world.pool().block(5))[bytes - 1], 0);
  EXPECT_EQ(static_cast<const char*>(world.pool().block(7))[bytes - 1], 0x11);
}

TEST(CpuBackendTest, BlocksGoOutAndComeBack) {
  World world({.threads = 2});
  const KvLayout& layout = world.pool().layout();
  const auto host = *world.backend().MakeHostKvPool(layout, 4);
  std::memset(world.pool().block(3), 0x11, layout.BlockBytes());
  std::memset(world.pool().block(5), 0x22, layout.BlockBytes());
  ASSERT_TRUE(world.backend().StartTransfer(world.pool(), *host, {{3, 1}, {5, 2}}).ok());
  ASSERT_TRUE(world.backend().StartTransfer(*host, world.pool(), {{1, 7}}).ok());
  EXPECT_EQ(*world.backend().FinishedTransfers(), 2);
  const auto last = [&layout](void* block) {
    return static_cast<const char*>(block)[layout.BlockBytes() - 1];
  };
  EXPECT_EQ(last(host->block(2)), 0x22);
  EXPECT_EQ(last(host->block(3)), 0);
  EXPECT_EQ(last(world.pool().block(7)), 0x11);
}

TEST(CpuBackendTest, OptionsAreCheckedAndDescribed) {
  EXPECT_EQ(MakeCpuBackend({.threads = -1}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MakeCpuBackend({.threads = 5000}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MakeCpuBackend({.isa = "mmx"}).status().code(), absl::StatusCode::kInvalidArgument);
  const auto backend = *MakeCpuBackend({.threads = 2, .isa = "scalar"});
  EXPECT_EQ(backend->info().kind, "cpu");
  EXPECT_EQ(backend->info().description, "cpu scalar, 2 threads");
  EXPECT_EQ((*MakeCpuBackend({.threads = 1, .isa = "scalar"}))->info().description,
            "cpu scalar, 1 thread");
  EXPECT_TRUE(MakeCpuBackend({}).ok());
  // The machine's memory changes meanwhile.
  const uint64_t half = backend->memory().available / 2;
  EXPECT_NEAR(static_cast<double>(backend->PoolMemory({}, 0)),
              static_cast<double>(half),
              static_cast<double>(half) / 4);
  EXPECT_EQ(backend->PoolMemory({}, UINT64_MAX), 0u);
}

TEST(CpuBackendTest, WhatItCannotDoIsRefusedAtLoad) {
  const auto backend = *MakeCpuBackend({.threads = 1});
  EXPECT_EQ(backend->OpenRendezvous({.rank = 2, .size = 2}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(backend->OpenRendezvous({}).ok());
  EXPECT_EQ(backend->Configure({}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(backend->NewActivation(DType::kF32, 0, 4).status().code(),
            absl::StatusCode::kInvalidArgument);
  const float value = 1;
  const HostTensor table{&value, DType::kF32, 1, 1, 1};
  EXPECT_EQ(backend->PackEmbedding({.dtype = DType::kF16, .vocab_size = 1}, table).status().code(),
            absl::StatusCode::kUnimplemented);
  EXPECT_EQ(backend->PackEmbedding({.first_token = 1, .vocab_size = 1}, table).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(backend->PackNorm({}).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(CpuBackendDeathTest, ForeignThingsAreBugs) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto backend = *MakeCpuBackend({.threads = 1});
  EXPECT_DEATH(backend->SetLaneToken(0, 1), "");
  World world({});
  const std::vector<BlockCopy> copies = {{3, 100000}};
  EXPECT_DEATH(world.backend().CopyBlocks(world.pool(), copies), "block 100000");
}

}  // namespace
}  // namespace pagoda::cpu
