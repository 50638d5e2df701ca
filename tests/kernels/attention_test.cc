#include "kernels/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/kernels/attention_harness.h"

namespace pagoda::cpu {
namespace {

struct Tolerance {
  DType dtype;
  double absolute;  // on outputs of magnitude about 1
};

constexpr Tolerance kTolerances[] = {{DType::kF32, 2e-6}, {DType::kBf16, 1.2e-2}};

double Bound(DType dtype) {
  for (const Tolerance& t : kTolerances) {
    if (t.dtype == dtype) return t.absolute;
  }
  return 0;
}

// The number of outputs whose bits differ.
int Different(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  int n = 0;
  for (size_t i = 0; i < a.size(); ++i) n += std::memcmp(&a[i], &b[i], sizeof(float)) != 0;
  return n;
}

double Worst(const std::vector<float>& got, const std::vector<double>& want) {
  EXPECT_EQ(got.size(), want.size());
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(got[i])) return INFINITY;
    worst = std::max(worst, std::abs(got[i] - want[i]));
  }
  return worst;
}

// Decodes at every interesting length and a prefill, in one step.
std::vector<SequenceCase> Mixed() {
  return {{1, 1}, {7, 1}, {16, 1}, {33, 1}, {256, 1}, {257, 1}, {300, 40}, {700, 1}, {45, 45}};
}

class AttentionByDType : public testing::TestWithParam<DType> {};

INSTANTIATE_TEST_SUITE_P(,
                         AttentionByDType,
                         testing::Values(DType::kF32, DType::kBf16),
                         [](const auto& info) { return std::string(DTypeName(info.param)); });

TEST_P(AttentionByDType, MatchesNaiveForEveryHeadSizeAndGroup) {
  for (const int dim : {32, 48, 64, 80, 96, 128, 256}) {
    for (const int group : {1, 2, 4, 5, 8}) {
      AttentionCase c;
      c.dtype = GetParam();
      c.head_dim = dim;
      c.num_kv_heads = 2;
      c.num_heads = 2 * group;
      c.sequences = {{1, 1}, {19, 1}, {290, 1}, {50, 20}};
      const AttentionFixture fixture(c);
      const std::vector<double> want = fixture.Naive();
      for (const Isa isa : SupportedIsas()) {
        EXPECT_LE(Worst(fixture.Run(isa), want), Bound(c.dtype))
            << IsaName(isa) << " head_dim " << dim << " group " << group;
      }
    }
  }
}

TEST_P(AttentionByDType, ComputesTheContractToTheBitOnEveryPath) {
  for (const int dim : {32, 80, 128}) {
    for (const int window : {0, 1, 20, 256, 300}) {
      AttentionCase c;
      c.dtype = GetParam();
      c.head_dim = dim;
      c.magnitude = dim == 80 ? 6 : 1;
      c.sequences = Mixed();
      for (SequenceCase& s : c.sequences) s.window = window;
      const AttentionFixture fixture(c);
      const std::vector<float> want = fixture.Contract();
      for (const Isa isa : SupportedIsas()) {
        EXPECT_EQ(Different(fixture.Run(isa), want), 0)
            << IsaName(isa) << " head_dim " << dim << " window " << window;
      }
    }
  }
}

TEST_P(AttentionByDType, MatchesNaiveUnderSlidingWindows) {
  for (const int window : {1, 2, 31, 64, 255, 1000}) {
    AttentionCase c;
    c.dtype = GetParam();
    c.sequences = Mixed();
    for (SequenceCase& s : c.sequences) s.window = window;
    const AttentionFixture fixture(c);
    for (const Isa isa : SupportedIsas()) {
      EXPECT_LE(Worst(fixture.Run(isa), fixture.Naive()), Bound(c.dtype))
          << IsaName(isa) << " window " << window;
    }
  }
}

TEST_P(AttentionByDType, BlockSizeAndPlacementChangeNoBit) {
  AttentionCase c;
  c.dtype = GetParam();
  c.sequences = Mixed();
  c.sequences.push_back({520, 3, 300});
  const std::vector<float> want = AttentionFixture(c).Run(SupportedIsas().front());
  for (const int block_size : {8, 16, 32, 64, 128, 1024}) {
    c.block_size = block_size;
    for (c.placement_seed = 1; c.placement_seed <= 3; ++c.placement_seed) {
      const AttentionFixture fixture(c);
      for (const Isa isa : SupportedIsas()) {
        EXPECT_EQ(Different(fixture.Run(isa), want), 0)
            << IsaName(isa) << " block size " << block_size << " placement " << c.placement_seed;
      }
    }
  }
}

TEST_P(AttentionByDType, ChunkingOfAPrefillChangesNoBit) {
  for (const int window : {0, 100}) {
    AttentionCase c;
    c.dtype = GetParam();
    c.sequences = {{600, 600, window}, {90, 70, window}};
    const AttentionFixture fixture(c);
    for (const Isa isa : SupportedIsas()) {
      const std::vector<float> whole = fixture.Run(isa);
      for (const int chunk : {1, 7, 16, 512}) {
        EXPECT_EQ(Different(fixture.Run(isa, chunk), whole), 0)
            << IsaName(isa) << " window " << window << " chunk " << chunk;
      }
    }
  }
}

TEST_P(AttentionByDType, LaterRowsOfItsChunkAreNotMultipliedEvenByZero) {
  for (const int window : {0, 40}) {
    AttentionCase c;
    c.dtype = GetParam();
    c.sequences = {{300, 60, window}};
    const std::vector<float> want = AttentionFixture(c).Run(SupportedIsas().front());
    for (const int nan_from : {241, 256, 257, 272, 277, 287, 288}) {
      c.sequences[0].nan_from = nan_from;
      const AttentionFixture fixture(c);
      const size_t clean = size_t(nan_from - 240) * c.num_heads * c.head_dim;
      for (const Isa isa : SupportedIsas()) {
        std::vector<float> got = fixture.Run(isa);
        EXPECT_TRUE(std::isnan(got[clean])) << "the poison must reach the rows that see it";
        got.resize(clean);
        EXPECT_EQ(Different(got, {want.begin(), want.begin() + clean}), 0)
            << IsaName(isa) << " window " << window << " NaN from " << nan_from;
      }
    }
  }
}

TEST_P(AttentionByDType, PositionsLeftBehindByTheWindowAreNotMultipliedEvenByZero) {
  AttentionCase c;
  c.dtype = GetParam();
  c.sequences = {{300, 60, 40}};
  const std::vector<float> want = AttentionFixture(c).Run(SupportedIsas().front());
  for (const int nan_at : {201, 223, 224, 225, 239, 255, 256}) {
    c.sequences[0].nan_from = nan_at;
    c.sequences[0].nan_to = nan_at + 1;
    const AttentionFixture fixture(c);
    const size_t row = c.num_heads * c.head_dim;
    const size_t clean = (nan_at + 40 - 240) * row;  // the first row that no longer sees it
    for (const Isa isa : SupportedIsas()) {
      const std::vector<float> got = fixture.Run(isa);
      EXPECT_TRUE(std::isnan(got[clean - row])) << "the poison must reach the rows that see it";
      EXPECT_EQ(Different({got.begin() + clean, got.end()}, {want.begin() + clean, want.end()}), 0)
          << IsaName(isa) << " NaN at " << nan_at;
    }
  }
}

TEST_P(AttentionByDType, ARowDependsOnNoOtherSequence) {
  AttentionCase c;
  c.dtype = GetParam();
  const SequenceCase subject = {333, 5, 0, 50};
  c.sequences = {subject};
  const std::vector<float> alone = AttentionFixture(c).Run(SupportedIsas().front());
  c.sequences = {{64, 2}, {400, 9, 30}, subject, {12, 12}};
  const AttentionFixture batch(c);
  const size_t width = c.num_heads * c.head_dim;
  for (const Isa isa : SupportedIsas()) {
    const std::vector<float> all = batch.Run(isa);
    const std::vector<float> part(all.begin() + 11 * width, all.begin() + 16 * width);
    EXPECT_EQ(Different(part, alone), 0) << IsaName(isa);
  }
}

TEST(Attention, PlanCoversEveryRowAndHeadOnceWithinTheScratch) {
  for (const int group : {1, 3, 8, 40}) {
    AttentionShape shape = {};
    shape.num_kv_heads = 2;
    shape.num_heads = 2 * group;
    const std::vector<AttentionSequence> sequences = {{nullptr, 100, 0, 1, 0},
                                                      {nullptr, 0, 1, 77, 0},
                                                      {nullptr, 5, 78, 3, 16}};
    std::vector<AttentionItem> items;
    PlanAttention(shape, sequences.data(), 3, &items);
    std::vector<int> seen(81 * shape.num_heads);
    for (const AttentionItem& item : items) {
      EXPECT_LE(item.rows * item.heads, kAttentionItemRows);
      EXPECT_EQ(item.head / group, (item.head + item.heads - 1) / group) << "two KV heads";
      for (int r = 0; r < item.rows; ++r) {
        for (int h = 0; h < item.heads; ++h) {
          const int row = sequences[item.sequence].first_row + item.row + r;
          ++seen[row * shape.num_heads + item.head + h];
        }
      }
    }
    EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), static_cast<int>(seen.size()));
  }
}

}  // namespace
}  // namespace pagoda::cpu
