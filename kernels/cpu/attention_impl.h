// The attention kernel, written once over a vector traits struct V (kernels/cpu/simd_*.h); each
// ISA's file instantiates it. Included by those files alone.
//
// An item's rows are (row of the sequence, head) pairs, row-major, so rows that share a range are
// neighbours. Per 256-token chunk: scores of all rows, softmax per row, P·V, fold into the running
// state. Positions are absolute everywhere; `at` is a position minus its chunk's or step's start.
#pragma once

#include <type_traits>

#include "kernels/cpu/attention_tiles.h"
#include "kernels/cpu/exp.h"
#include "kernels/cpu/kv_tile.h"

namespace pagoda::cpu {

// kRows × kUnits pairs of native vectors are accumulated in registers.
template <class S, class T, int kRows, int kUnits>
class AttentionKernel {
  using F = typename S::F;

 public:
  AttentionKernel(const AttentionArgs& args, const AttentionItem& item, float* scratch)
      : args_(args),
        shape_(args.shape),
        dim_(shape_.head_dim),
        sequence_(args.sequences[item.sequence]),
        item_(item),
        block_shift_(__builtin_ctz(args.shape.block_size)),
        window_(Min(sequence_.window, kMaxPosition)),
        first_(sequence_.first_position + item.row),
        begin_(Low(0)),
        end_(first_ + item.rows) {
    const int kv_head = item.head / (shape_.num_heads / shape_.num_kv_heads);
    tiles_ = args.kv.base + kv_head * args.kv.head_bytes;
    query_ = scratch;
    scores_ = query_ + kRowFloats;
    acc_ = scores_ + kAttentionItemRows * kScoreStride;
    chunk_acc_ = acc_ + kRowFloats;
    max_ = chunk_acc_ + kRowFloats;
    sum_ = max_ + kAttentionItemRows;
    chunk_max_ = sum_ + kAttentionItemRows;
    chunk_sum_ = chunk_max_ + kAttentionItemRows;
  }

  void Run() {
    LoadQuery();
    for (int chunk = AlignDown(begin_, kAttentionChunk); chunk < end_; chunk += kAttentionChunk) {
      const int from = Max(chunk, begin_);
      const int to = Min(chunk + kAttentionChunk, end_);
      const Span rows = RowsSeeing(chunk, chunk + kAttentionChunk);
      for (int step = AlignDown(from, kAttentionStep); step < to; step += kAttentionStep) {
        ScoreStep(step, from, to, AheadOf(step, false), scores_ + (step - chunk));
      }
      for (int row = rows.begin; row < rows.end; ++row) {
        for (int h = 0; h < item_.heads; ++h) Softmax(row, row * item_.heads + h, chunk);
      }
      for (size_t i = RowOffset(rows.begin); i < RowOffset(rows.end); i += kTileLanes) {
        S::Store(chunk_acc_ + i, S::Zero());
      }
      for (int step = AlignDown(from, kAttentionStep); step < to; step += kAttentionStep) {
        ValueStep(step, from, to, AheadOf(step, true), scores_ + (step - chunk));
      }
      for (int row = rows.begin; row < rows.end; ++row) {
        const bool first = AlignDown(Low(row), kAttentionChunk) == chunk;
        for (int h = 0; h < item_.heads; ++h) Fold(row * item_.heads + h, first);
      }
    }
    StoreOutput();
  }

 private:
  static constexpr int64_t kRowFloats = int64_t{kAttentionItemRows} * kMaxHeadDim;
  static constexpr int kStepsAhead = 2;
  static constexpr int kMaxPosition = 1 << 30;  // keeps sums of positions in an int
  struct Span {
    int begin, end;
  };

  // Row `row` of the item sees positions [Low(row), High(row)).
  int Low(int row) const { return window_ > 0 ? Max(0, first_ + row - window_ + 1) : 0; }
  int High(int row) const { return first_ + row + 1; }

  // The rows that see any position of [from, to): both bounds of a row's range grow with the row.
  Span RowsSeeing(int from, int to) const {
    const int begin = Min(Max(from - first_, 0), item_.rows);
    const int end = window_ > 0 ? Min(item_.rows, to - first_ + window_ - 1) : item_.rows;
    return {begin, Max(begin, end)};
  }

  // The rows, among those, that see all of [from, to).
  Span RowsSeeingAll(int from, int to, Span seeing) const {
    const int begin = Min(Max(to - 1 - first_, seeing.begin), seeing.end);
    const int end = window_ > 0 ? Min(seeing.end, from - first_ + window_) : seeing.end;
    return {begin, Max(begin, end)};
  }

  size_t RowOffset(int row) const { return static_cast<size_t>(row) * item_.heads * dim_; }

  const T* KTile(int position) const {
    return reinterpret_cast<const T*>(tiles_ + sequence_.blocks[position >> block_shift_] *
                                                   args_.kv.block_bytes);
  }

  Ahead Nothing() const {
    const auto* any = reinterpret_cast<const std::byte*>(query_);
    return {{any, any}, 0};
  }

  // What to fetch during the K or V pass over `step`. Steps are read chunk by chunk, K then V.
  Ahead AheadOf(int step, bool value) const {
    Ahead ahead = Nothing();
    if (shape_.block_size < kTileLanes) return ahead;
    ahead.cell_bytes = sizeof(T) * 2 * kTileLanes;
    const int chunk = AlignDown(step, kAttentionChunk);
    const int first = AlignDown(Max(chunk, begin_), kAttentionStep);
    const int last = AlignDown(Min(chunk + kAttentionChunk, end_) - 1, kAttentionStep);
    int position = step + kStepsAhead * kAttentionStep;
    if (position > last) {  // V follows K in this chunk; K of the next chunk follows V
      const int beyond = position - last - kAttentionStep;
      position = value ? chunk + kAttentionChunk + beyond : first + beyond;
      value = !value;
    }
    for (const std::byte*& group : ahead.group) {
      if (position >= begin_ && position < end_) {
        const int slot = position & (shape_.block_size - 1);
        group = reinterpret_cast<const std::byte*>(KTile(position) + slot * dim_) +
                (value ? args_.kv.v_bytes : 0);
      }
      position += kTileLanes;
    }
    return ahead;
  }

  void LoadQuery() {
    float* to = query_;
    for (int row = 0; row < item_.rows; ++row) {
      const T* from = static_cast<const T*>(args_.q) +
                      (sequence_.first_row + item_.row + row) * args_.q_stride + item_.head * dim_;
      for (int64_t i = 0; i < item_.heads * dim_; i += kTileLanes, to += kTileLanes) {
        if constexpr (std::is_same_v<T, float>) {
          S::Store(to, S::Load(from + i));
        } else {
          S::Store(to, S::LoadBf16(from + i));
        }
      }
    }
  }

  // Scores of the positions [step, step + 32) ∩ groups that touch [from, to), for every row that
  // sees any of them. Scores outside a row's range are left as they fall: Softmax overwrites them.
  void ScoreStep(int step, int from, int to, Ahead ahead, float* scores) {
    alignas(64) T staged[kAttentionStep / kTileLanes][kTileLanes * kMaxHeadDim];
    const T* groups[kAttentionStep / kTileLanes];
    const int begin = Max(step, AlignDown(from, kTileLanes));
    const int end = Min(step + kAttentionStep, to);
    int count = 0;
    for (int position = begin; position < end; position += kTileLanes, ++count) {
      groups[count] = shape_.block_size >= kTileLanes
                          ? KTile(position) + (position & (shape_.block_size - 1)) * dim_
                          : Stage(position, from, to, staged[count]);
    }
    const Span rows = RowsSeeing(step, step + kAttentionStep);
    const int units = count * kTileLanes / S::kWidth;
    for (int r = rows.begin * item_.heads; r < rows.end * item_.heads; r += kRows) {
      const int m = Min(kRows, rows.end * item_.heads - r);
      int unit = 0;
      for (; unit + kUnits <= units; unit += kUnits) {
        ScoreRows<kRows, kUnits>(m, r, groups, unit, ahead, scores + (begin - step));
      }
      for (; unit < units; ++unit) {
        ScoreRows<kRows, 1>(m, r, groups, unit, ahead, scores + (begin - step));
      }
      ahead = Nothing();
    }
  }

  // A 16-token K group out of two 8-token tiles. A tile that no row sees may not exist: zeros.
  const T* Stage(int position, int from, int to, T* staged) const {
    constexpr int kHalf = kTileLanes / 2;
    for (int half = 0; half < 2; ++half) {
      const int p = position + half * kHalf;
      const T* tile = p < to && p + kHalf > from ? KTile(p) : nullptr;
      for (int64_t cell = 0; cell < dim_ / 2; ++cell) {
        for (int i = 0; i < kTileLanes; ++i) {  // [8][2] in bf16, [2][8] in f32
          const int at = std::is_same_v<T, float>
                             ? CellIndex<T>(half * kHalf + i % kHalf, i / kHalf, kTileLanes)
                             : half * kTileLanes + i;
          staged[cell * 2 * kTileLanes + at] = tile != nullptr ? tile[cell * kTileLanes + i] : T{};
        }
      }
    }
    return staged;
  }

  template <int M, int N>
  void ScoreRows(int m,
                 int r,
                 const T* const* groups,
                 int unit,
                 const Ahead& ahead,
                 float* scores) {
    if (m == M) {
      ScoreTile<S, T, M, N>(query_ + r * dim_,
                            groups,
                            unit,
                            dim_,
                            ahead,
                            scores + r * kScoreStride);
    } else if constexpr (M > 1) {
      ScoreRows<M - 1, N>(m, r, groups, unit, ahead, scores);
    }
  }

  // Turns row r's dot products of the chunk into P in place, over the 16-token groups that touch
  // the row's range.
  void Softmax(int row, int r, int chunk) {
    float* s = scores_ + r * kScoreStride;
    const int low = Max(Low(row) - chunk, 0);
    const int high = Min(High(row) - chunk, kAttentionChunk);
    const F scale = S::Set1(shape_.scale);
    const F masked = S::Set1(-__builtin_inff());
    F max = masked;
    for (int at = AlignDown(low, kTileLanes); at < high; at += kTileLanes) {
      F score = S::Mul(S::Load(s + at), scale);
      if (high < at + kTileLanes) score = S::Select(S::FirstN(high - at), score, masked);
      if (low > at) score = S::Select(S::FirstN(low - at), masked, score);
      S::Store(s + at, score);
      max = S::Max(max, score);
    }
    chunk_max_[r] = S::ReduceMax(max);
    const F shift = S::Set1(chunk_max_[r]);
    F sum = S::Zero();
    for (int at = AlignDown(low, kTileLanes); at < high; at += kTileLanes) {
      F p = Exp<S>(S::Sub(S::Load(s + at), shift));
      if constexpr (sizeof(T) == sizeof(uint16_t)) {
        alignas(32) uint16_t rounded[kTileLanes];
        S::StoreBf16(rounded, p);
        p = S::LoadBf16(rounded);
      }
      S::Store(s + at, p);
      sum = S::Add(sum, p);
    }
    chunk_sum_[r] = S::ReduceAdd(sum);
  }

  // chunk_acc += P·V of the positions [step, step + 32) that each row sees. P of row r begins at
  // p[r * 256].
  void ValueStep(int step, int from, int to, Ahead ahead, const float* p) {
    const T* runs[kRunsPerStep];  // V rows of 8 tokens each
    for (int i = 0; i < kRunsPerStep; ++i) {
      const int position = step + i * kRunTokens;
      const bool seen = position < to && position + kRunTokens > from;
      runs[i] = seen ? reinterpret_cast<const T*>(
                           reinterpret_cast<const std::byte*>(KTile(position)) + args_.kv.v_bytes) +
                           (position & (shape_.block_size - 1)) * dim_
                     : nullptr;
    }
    const Span seeing = RowsSeeing(step, step + kAttentionStep);
    const Span all = RowsSeeingAll(step, step + kAttentionStep, seeing);
    for (int row = seeing.begin; row < seeing.end; ++row) {
      if (row == all.begin && all.begin < all.end) {
        ValueRows(all.begin * item_.heads,
                  all.end * item_.heads,
                  runs,
                  p,
                  0,
                  kAttentionStep,
                  ahead);
        row = all.end - 1;
      } else {
        const int low = Max(Low(row) - step, 0);
        const int high = Min(High(row) - step, kAttentionStep);
        ValueRows(row * item_.heads, (row + 1) * item_.heads, runs, p, low, high, ahead);
      }
      ahead = Nothing();
    }
  }

  void ValueRows(int begin,
                 int end,
                 const T* const* runs,
                 const float* p,
                 int low,
                 int high,
                 Ahead ahead) {
    for (int r = begin; r < end; r += kRows) {
      const int m = Min(kRows, end - r);
      int64_t d = 0;
      for (; d + kUnits * S::kWidth <= dim_; d += kUnits * S::kWidth) {
        ValueColumns<kRows, kUnits>(m, r, runs, p, d, low, high, ahead);
      }
      for (; d < dim_; d += S::kWidth) {
        ValueColumns<kRows, 1>(m, r, runs, p, d, low, high, ahead);
      }
      ahead = Nothing();
    }
  }

  template <int M, int N>
  void ValueColumns(int m,
                    int r,
                    const T* const* runs,
                    const float* p,
                    int64_t d,
                    int low,
                    int high,
                    const Ahead& ahead) {
    if (m == M) {
      float* acc = chunk_acc_ + r * dim_ + d;
      if (high - low == kAttentionStep) {
        ValueTile<S, T, M, N, true>(p + r * kScoreStride, runs, d, dim_, low, high, ahead, acc);
      } else {
        ValueTile<S, T, M, N, false>(p + r * kScoreStride, runs, d, dim_, low, high, ahead, acc);
      }
    } else if constexpr (M > 1) {
      ValueColumns<M - 1, N>(m, r, runs, p, d, low, high, ahead);
    }
  }

  // The online-softmax fold of the chunk's (max, sum, acc) into row r's state.
  void Fold(int r, bool first) {
    float* acc = acc_ + r * dim_;
    const float* chunk = chunk_acc_ + r * dim_;
    if (first) {
      max_[r] = chunk_max_[r];
      sum_[r] = chunk_sum_[r];
      for (int64_t d = 0; d < dim_; d += kTileLanes) S::Store(acc + d, S::Load(chunk + d));
      return;
    }
    const F old_max = S::Set1(max_[r]);
    const F new_max = S::Set1(chunk_max_[r]);
    const F max = S::Max(old_max, new_max);
    const F old_weight = Exp<S>(S::Sub(old_max, max));
    const F new_weight = Exp<S>(S::Sub(new_max, max));
    const F scaled = S::Mul(S::Set1(chunk_sum_[r]), new_weight);
    max_[r] = S::ReduceMax(max);
    sum_[r] = S::ReduceMax(S::Fma(S::Set1(sum_[r]), old_weight, scaled));
    for (int64_t d = 0; d < dim_; d += kTileLanes) {
      const F added = S::Mul(S::Load(chunk + d), new_weight);
      S::Store(acc + d, S::Fma(S::Load(acc + d), old_weight, added));
    }
  }

  void StoreOutput() {
    for (int row = 0; row < item_.rows; ++row) {
      T* to = static_cast<T*>(args_.out) +
              (sequence_.first_row + item_.row + row) * args_.out_stride + item_.head * dim_;
      for (int h = 0; h < item_.heads; ++h) {
        const int r = row * item_.heads + h;
        const F sum = S::Set1(sum_[r]);
        for (int64_t d = 0; d < dim_; d += kTileLanes) {
          const F value = S::Div(S::Load(acc_ + r * dim_ + d), sum);
          if constexpr (std::is_same_v<T, float>) {
            S::Store(to + h * dim_ + d, value);
          } else {
            S::StoreBf16(to + h * dim_ + d, value);
          }
        }
      }
    }
  }

  const AttentionArgs& args_;
  const AttentionShape& shape_;
  const int64_t dim_;
  const AttentionSequence& sequence_;
  const AttentionItem& item_;
  const int block_shift_;
  const int window_;
  const int first_;  // position of the item's first row
  const int begin_;  // positions seen by any row: [begin_, end_)
  const int end_;
  const std::byte* tiles_;  // K tile of the item's KV head in block 0
  float* query_;            // [rows × heads][head_dim]
  float* scores_;           // [rows × heads][256], then P
  float* acc_;              // [rows × heads][head_dim], running state
  float* chunk_acc_;        // same, of the present chunk
  float* max_;              // [rows × heads], running state
  float* sum_;
  float* chunk_max_;
  float* chunk_sum_;
};

template <class S, int kRows, int kUnits>
void RunAttention(const AttentionArgs& args, const AttentionItem& item, float* scratch) {
  if (args.shape.dtype == DType::kBf16) {
    AttentionKernel<S, uint16_t, kRows, kUnits>(args, item, scratch).Run();
  } else {
    AttentionKernel<S, float, kRows, kUnits>(args, item, scratch).Run();
  }
}

}  // namespace pagoda::cpu
