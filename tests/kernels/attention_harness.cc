#include "tests/kernels/attention_harness.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/kv_tile.h"
#include "kernels/kv_layout.h"

namespace pagoda::cpu {
namespace {

constexpr int kLayers = 2;
constexpr int kLayer = 1;
constexpr int32_t kNoBlock = 0x40000000;  // far outside the pool: reading it would crash

}  // namespace

float RoundTo(DType dtype, float x) { return dtype == DType::kBf16 ? Bf16ToF32(F32ToBf16(x)) : x; }

AttentionFixture::AttentionFixture(const AttentionCase& c) : c_(c) {
  Fill();
  Place();
}

void AttentionFixture::Fill() {
  size_t tokens = 0;
  for (size_t i = 0; i < c_.sequences.size(); ++i) {
    const SequenceCase& s = c_.sequences[i];
    start_.push_back(tokens);
    tokens += s.context;
    for (int row = s.context - s.rows; row < s.context; ++row) {
      row_.push_back({static_cast<int>(i), row});
    }
    std::mt19937_64 random(c_.seed * 1000 + (s.values >= 0 ? s.values : i));
    std::normal_distribution<float> normal;
    const auto draw = [&](std::vector<float>* to, int rows, int heads, float scale) {
      for (int n = rows * heads * c_.head_dim; n > 0; --n) {
        to->push_back(RoundTo(c_.dtype, scale * normal(random)));
      }
    };
    draw(&k_, s.context, c_.num_kv_heads, 1);
    draw(&v_, s.context, c_.num_kv_heads, 1);
    draw(&q_, s.rows, c_.num_heads, c_.magnitude);
  }
  rows_ = static_cast<int>(row_.size());
}

void AttentionFixture::Place() {
  const KvLayout layout = {kLayers, c_.num_kv_heads, c_.head_dim, c_.block_size, c_.dtype};
  int needed = 0;
  for (const SequenceCase& s : c_.sequences) needed += (s.context - 1) / c_.block_size + 1;
  std::vector<int32_t> ids(2 * needed + 1);
  std::iota(ids.begin(), ids.end(), 0);
  std::shuffle(ids.begin(), ids.end(), std::mt19937_64(c_.placement_seed));
  pool_.assign(layout.BlockBytes() * ids.size(), std::byte{0xff});
  for (const SequenceCase& s : c_.sequences) {
    std::vector<int32_t>& table = tables_.emplace_back();
    const int first_row = s.context - s.rows;
    const int seen = s.window > 0 ? std::max(0, first_row - s.window + 1) : 0;
    for (int i = 0; i <= (s.context - 1) / c_.block_size; ++i) {
      // A block wholly before the window has been freed and its entry means nothing.
      const bool freed = (i + 1) * c_.block_size <= seen;
      table.push_back(freed ? kNoBlock : ids.back());
      ids.pop_back();
    }
  }
  view_ = {pool_.data() + layout.KTileOffset(kLayer, 0),
           layout.BlockBytes(),
           layout.TileBytes(),
           layout.VTileOffset(kLayer, 0) - layout.KTileOffset(kLayer, 0)};
  c_.dtype == DType::kBf16 ? StoreTokens<uint16_t>() : StoreTokens<float>();
}

template <class T>
void AttentionFixture::StoreTokens() {
  const auto narrow = [&](const float* from) {
    std::vector<T> to(c_.head_dim);
    for (int d = 0; d < c_.head_dim; ++d) {
      if constexpr (sizeof(T) == 2) {
        to[d] = F32ToBf16(from[d]);
      } else {
        to[d] = from[d];
      }
    }
    return to;
  };
  std::byte* base = pool_.data() + (view_.base - pool_.data());
  for (size_t s = 0; s < tables_.size(); ++s) {
    for (int p = 0; p < c_.sequences[s].context; ++p) {
      const int32_t block = tables_[s][p / c_.block_size];
      if (block == kNoBlock) continue;
      for (int h = 0; h < c_.num_kv_heads; ++h) {
        std::byte* tile = base + block * view_.block_bytes + h * view_.head_bytes;
        const int slot = p % c_.block_size;
        const SequenceCase& c = c_.sequences[s];
        if (p >= c.nan_from && p < c.nan_to) continue;  // the pool is full of it
        StoreKToken(reinterpret_cast<T*>(tile),
                    slot,
                    narrow(K(s, p, h)).data(),
                    c_.head_dim,
                    c_.block_size);
        StoreVToken(reinterpret_cast<T*>(tile + view_.v_bytes),
                    slot,
                    narrow(V(s, p, h)).data(),
                    c_.head_dim);
      }
    }
  }
}

std::vector<float> AttentionFixture::Run(Isa isa, int chunk) const {
  const int width = c_.num_heads * c_.head_dim;
  std::vector<uint16_t> q16(q_.size()), out16(q_.size(), 0xffff);
  std::vector<float> out(q_.size(), NAN);
  std::transform(q_.begin(), q_.end(), q16.begin(), F32ToBf16);
  const bool bf16 = c_.dtype == DType::kBf16;
  std::vector<AttentionSequence> sequences;
  for (int row = 0; row < rows_;) {
    const SequenceCase& s = c_.sequences[row_[row].sequence];
    const int left = s.context - row_[row].position;
    const int take = chunk > 0 ? std::min(chunk, left) : left;
    sequences.push_back(
        {tables_[row_[row].sequence].data(), row_[row].position, row, take, s.window});
    row += take;
  }
  const AttentionArgs args = {{c_.num_heads,
                               c_.num_kv_heads,
                               c_.head_dim,
                               c_.block_size,
                               1 / std::sqrt(static_cast<float>(c_.head_dim)),
                               c_.dtype},
                              view_,
                              sequences.data(),
                              bf16 ? static_cast<const void*>(q16.data()) : q_.data(),
                              bf16 ? static_cast<void*>(out16.data()) : out.data(),
                              static_cast<size_t>(width),
                              static_cast<size_t>(width)};
  std::vector<AttentionItem> items;
  PlanAttention(args.shape, sequences.data(), static_cast<int>(sequences.size()), &items);
  std::vector<float> scratch(kAttentionScratchBytes / sizeof(float), NAN);
  const AttentionFn attention = KernelsFor(isa).attention;
  for (const AttentionItem& item : items) attention(args, item, scratch.data());
  if (bf16) std::transform(out16.begin(), out16.end(), out.begin(), Bf16ToF32);
  return out;
}

int AttentionFixture::FirstSeen(const Row& row) const {
  const int window = c_.sequences[row.sequence].window;
  return window > 0 ? std::max(0, row.position - window + 1) : 0;
}

std::vector<double> AttentionFixture::Naive() const {
  const int dim = c_.head_dim;
  const int group = c_.num_heads / c_.num_kv_heads;
  std::vector<double> out(q_.size());
  for (int r = 0; r < rows_; ++r) {
    for (int h = 0; h < c_.num_heads; ++h) {
      const float* q = &q_[(size_t(r) * c_.num_heads + h) * dim];
      const int first = FirstSeen(row_[r]);
      std::vector<double> score(row_[r].position - first + 1);
      for (size_t i = 0; i < score.size(); ++i) {
        const float* k = K(row_[r].sequence, first + i, h / group);
        for (int d = 0; d < dim; ++d) score[i] += double{q[d]} * k[d];
        score[i] /= std::sqrt(double(dim));
      }
      const double max = *std::max_element(score.begin(), score.end());
      double sum = 0;
      for (double& s : score) sum += s = std::exp(s - max);
      double* to = &out[(size_t(r) * c_.num_heads + h) * dim];
      for (size_t i = 0; i < score.size(); ++i) {
        const float* v = V(row_[r].sequence, first + i, h / group);
        for (int d = 0; d < dim; ++d) to[d] += score[i] / sum * v[d];
      }
    }
  }
  return out;
}

}  // namespace pagoda::cpu
