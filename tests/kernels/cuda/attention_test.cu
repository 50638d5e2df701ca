// Paged attention on a device: against the formula in double (bf16) and the contract bit for bit
// (f32), and a row against itself in other company.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "kernels/cuda/attention.h"
#include "kernels/kv_layout.h"
#include "tests/kernels/attention_harness.h"
#include "tests/kernels/cuda/device_array.h"
#include "tests/kernels/reference.h"

namespace pagoda::cuda {
namespace {

using cpu::AttentionCase;
using cpu::AttentionFixture;
using cpu::SequenceCase;
using reference::SameBits;

// |error| of a bf16 result: half a unit in the last place of about 1, twice (weights, result).
constexpr double kTolerance = 0.02;
constexpr int kLayers = 2, kLayer = 1;

// How the same rows are computed.
struct Way {
  int chunk = 0;  // rows of a sequence given at a time; 0: all
  int32_t slots = 1000;
  int32_t ctas = 5;
  int block_size = 16;
  uint64_t placement = 1;
};

std::vector<std::byte> Encoded(const std::vector<float>& values, DType dtype) {
  const int64_t count = static_cast<int64_t>(values.size());
  return reference::Encode({1, count, values}, dtype);
}

class Attention {
 public:
  Attention(const AttentionCase& c, const Way& way)
      : case_(c),
        fixture_(c),
        layout_{kLayers, c.num_kv_heads, c.head_dim, way.block_size, c.dtype},
        shape_{c.num_heads,
               c.num_kv_heads,
               c.head_dim,
               way.block_size,
               1 / std::sqrt(static_cast<float>(c.head_dim)),
               c.dtype},
        way_(way) {
    Place();
  }

  std::vector<float> Run() {
    AttentionPlan plan;
    PlanAttention(shape_, sequences_, way_.slots, &plan);
    const DeviceArray<std::byte> pool(pool_, stream_),
        q(Encoded(fixture_.q(), case_.dtype), stream_);
    const DeviceArray<std::byte> out(
        std::vector<std::byte>(fixture_.q().size() * DTypeSize(case_.dtype), std::byte{0xff}),
        stream_);
    const DeviceArray<StepSequence> sequences(sequences_, stream_);
    const DeviceArray<int32_t> tables(tables_, stream_);
    const DeviceArray<AttentionFold> folds(plan.folds, stream_);
    const size_t slot = AttentionSlotFloats(case_.head_dim);
    const DeviceArray<float> workspace(std::vector<float>(way_.slots * slot, NAN), stream_);
    const DeviceArray<float> carry(std::vector<float>(2 * slot, NAN), stream_);
    AttentionArgs args;
    args.shape = shape_;
    args.kv = pool.data() + layout_.KTileOffset(kLayer, 0);
    args.head_bytes = layout_.TileBytes();
    args.v_bytes = layout_.VTileOffset(kLayer, 0) - layout_.KTileOffset(kLayer, 0);
    args.block_bytes = layout_.BlockBytes();
    args.sequences = sequences.data();
    args.tables = tables.data();
    args.folds = folds.data();
    args.q = q.data();
    args.q_stride = int64_t{case_.num_heads} * case_.head_dim;
    args.out = out.data();
    args.out_stride = args.q_stride;
    args.workspace = workspace.data();
    args.carry = carry.data();
    args.max_ctas = way_.ctas;
    CHECK_EQ(PrepareAttention(), cudaSuccess);
    CHECK_EQ(RunAttention(args, plan.rounds, stream_.get()), cudaSuccess);
    return Floats(out.Download());
  }

  const AttentionFixture& fixture() const { return fixture_; }

 private:
  std::vector<float> Floats(const std::vector<std::byte>& bytes) const {
    const size_t size = DTypeSize(case_.dtype);
    std::vector<float> values;
    for (size_t at = 0; at < bytes.size(); at += size) {
      float value = 0;
      uint16_t half = 0;
      std::memcpy(size == 4 ? static_cast<void*>(&value) : &half, &bytes[at], size);
      values.push_back(size == 4 ? value : Bf16ToF32(half));
    }
    return values;
  }

  // K and V into shuffled blocks of a pool that is NaN elsewhere; entries of blocks before the
  // window lead nowhere.
  void Place() {
    int needed = 0;
    for (const SequenceCase& s : case_.sequences) needed += (s.context - 1) / way_.block_size + 1;
    std::vector<int32_t> ids(needed + 3);
    std::iota(ids.begin(), ids.end(), 1);
    std::shuffle(ids.begin(), ids.end(), std::mt19937_64(way_.placement));
    pool_.assign(layout_.BlockBytes() * (ids.size() + 1), std::byte{0xff});
    int row = 0;
    for (size_t s = 0; s < case_.sequences.size(); ++s) {
      const SequenceCase& sequence = case_.sequences[s];
      const int32_t table = static_cast<int32_t>(tables_.size());
      const int first = sequence.context - sequence.rows;
      const int seen = sequence.window > 0 ? std::max(0, first - sequence.window + 1) : 0;
      for (int i = 0; i <= (sequence.context - 1) / way_.block_size; ++i) {
        tables_.push_back((i + 1) * way_.block_size <= seen ? 0x40000000 : ids.back());
        ids.pop_back();
      }
      for (int position = seen; position < sequence.context; ++position) {
        if (position >= sequence.nan_from && position < sequence.nan_to) continue;
        Store(static_cast<int>(s), position, tables_[table + position / way_.block_size]);
      }
      const int step = way_.chunk == 0 ? sequence.rows : way_.chunk;
      for (int done = 0; done < sequence.rows; done += step) {
        const int rows = std::min(step, sequence.rows - done);
        sequences_.push_back({table, first + done, row, rows, sequence.window});
        row += rows;
      }
    }
  }

  void Store(int sequence, int position, int32_t block) {
    const size_t row = case_.head_dim * DTypeSize(case_.dtype);
    for (int head = 0; head < case_.num_kv_heads; ++head) {
      std::byte* const at = &pool_[block * layout_.BlockBytes()] + position % way_.block_size * row;
      const auto copy = [&](const float* from, size_t offset) {
        const std::vector<float> values(from, from + case_.head_dim);
        const std::vector<std::byte> bytes = Encoded(values, case_.dtype);
        std::memcpy(at + offset, bytes.data(), row);
      };
      copy(fixture_.K(sequence, position, head), layout_.KTileOffset(kLayer, head));
      copy(fixture_.V(sequence, position, head), layout_.VTileOffset(kLayer, head));
    }
  }

  const Stream stream_ = MakeStreamOrDie();
  const AttentionCase case_;
  const AttentionFixture fixture_;
  const KvLayout layout_;
  const AttentionShape shape_;
  const Way way_;
  std::vector<std::byte> pool_;
  std::vector<int32_t> tables_;
  std::vector<StepSequence> sequences_;
};

void ExpectSameBits(const std::vector<float>& got,
                    const std::vector<float>& want,
                    const std::string& what) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_TRUE(SameBits(got[i], want[i]))
        << what << ": " << got[i] << " for " << want[i] << " at " << i;
  }
}

struct Named {
  const char* name;
  AttentionCase c;
};

class AttentionTest : public ::testing::TestWithParam<Named> {};

TEST_P(AttentionTest, GivesTheReferencesResults) {
  Attention attention(GetParam().c, {});
  const std::vector<float> got = attention.Run();
  if (GetParam().c.dtype == DType::kF32) {
    ExpectSameBits(got, attention.fixture().Contract(), "f32");
    return;
  }
  const std::vector<double> want = attention.fixture().Naive();
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], kTolerance) << i;
}

TEST_P(AttentionTest, ARowDependsOnNothingElse) {
  const std::vector<float> want = Attention(GetParam().c, {}).Run();
  const std::vector<std::pair<const char*, Way>> ways = {
      {"a row at a time", {.chunk = 1}},
      {"seven rows at a time", {.chunk = 7, .ctas = 1}},
      {"rounds of one item", {.slots = 1}},
      {"rounds that end one tile and begin another", {.slots = 2}},
      {"rounds of three items", {.chunk = 5, .slots = 3}},
      {"blocks of 8", {.block_size = 8, .placement = 2}},
      {"blocks of 128", {.block_size = 128, .placement = 3}},
  };
  for (const auto& [what, way] : ways)
    ExpectSameBits(Attention(GetParam().c, way).Run(), want, what);
}

std::vector<Named> Cases() {
  const auto make = [](DType dtype, int heads, int kv_heads, int dim, std::vector<SequenceCase> s) {
    return AttentionCase{.dtype = dtype,
                         .num_heads = heads,
                         .num_kv_heads = kv_heads,
                         .head_dim = dim,
                         .sequences = s};
  };
  constexpr DType kBf16 = DType::kBf16, kF32 = DType::kF32;
  const std::vector<SequenceCase> mixed = {{1, 1}, {37, 5}, {300, 1}, {64, 64}};
  return {
      {"bf16_mixed", make(kBf16, 4, 2, 64, mixed)},
      {"bf16_long", make(kBf16, 2, 1, 64, {{700, 3}, {513, 1}})},
      {"bf16_window", make(kBf16, 4, 2, 64, {{400, 20, 100}, {290, 9, 17}})},
      {"bf16_one_group_of_20", make(kBf16, 20, 1, 64, {{70, 3}})},
      {"bf16_dim80", make(kBf16, 2, 2, 80, {{90, 4}})},
      {"bf16_dim128", make(kBf16, 4, 1, 128, {{280, 2}, {30, 6}})},
      {"bf16_dim256", make(kBf16, 1, 1, 256, {{100, 3}})},
      {"f32_mixed", make(kF32, 4, 2, 64, {{1, 1}, {37, 5}, {300, 1}})},
      {"f32_window", make(kF32, 2, 1, 48, {{330, 6, 70}})},
  };
}

INSTANTIATE_TEST_SUITE_P(Cases, AttentionTest, ::testing::ValuesIn(Cases()), [](const auto& info) {
  return std::string(info.param.name);
});

// Rows that see no position from `nan_from` on give what they would without it.
TEST(AttentionNaN, ARowDoesNotFeelWhatItDoesNotSee) {
  for (const DType dtype : {DType::kBf16, DType::kF32}) {
    for (const int window : {0, 30}) {
      AttentionCase c = {.dtype = dtype, .num_heads = 4, .num_kv_heads = 2, .head_dim = 64};
      c.sequences = {{.context = 290, .rows = 50, .window = window}};
      const std::vector<float> want = Attention(c, {}).Run();
      for (const int nan_from : {241, 256, 271}) {
        c.sequences[0].nan_from = nan_from;
        const std::vector<float> got = Attention(c, {}).Run();
        const size_t clean = size_t{1} * (nan_from - 240) * c.num_heads * c.head_dim;
        for (size_t i = 0; i < got.size(); ++i) {
          ASSERT_EQ(std::isnan(got[i]), i >= clean) << "NaN from " << nan_from << " at " << i;
          ASSERT_TRUE(i >= clean || SameBits(got[i], want[i])) << nan_from << " at " << i;
        }
      }
    }
  }
}

TEST(AttentionPlan, DividesEveryTileIntoItsChunksInOrder) {
  const AttentionShape shape = {8, 2, 64, 16, 1, DType::kBf16};
  const std::vector<StepSequence> sequences = {{0, 600, 0, 5, 0}, {9, 300, 5, 1, 40}};
  AttentionPlan plan;
  PlanAttention(shape, sequences, 4, &plan);
  EXPECT_LE(static_cast<int64_t>(plan.folds.size()), MaxAttentionFolds(8, 2, 6, 2, 605, 4));
  std::string text;
  for (const AttentionPlan::Round& round : plan.rounds) {
    for (int f = round.first_fold; f < round.first_fold + round.folds; ++f) {
      const AttentionFold& fold = plan.folds[f];
      text += fold.continues ? "[+" : "[";
      for (int i = 0; i < fold.items; ++i) {
        text += std::to_string(fold.first.sequence) + "." + std::to_string(fold.first.row) + "." +
                std::to_string(fold.first.kv_head) + "." + std::to_string(fold.first.chunk + i) +
                " ";
      }
      text += fold.goes_on ? "+]" : "]";
    }
    text += "\n";
  }
  EXPECT_EQ(text,
            "[0.0.0.0 0.0.0.1 0.0.0.2 ][0.0.1.0 +]\n"
            "[+0.0.1.1 0.0.1.2 ][0.16.0.0 0.16.0.1 +]\n"
            "[+0.16.0.2 ][0.16.1.0 0.16.1.1 0.16.1.2 ]\n"
            "[1.0.0.1 ][1.0.1.1 ]\n");
}

}  // namespace
}  // namespace pagoda::cuda
