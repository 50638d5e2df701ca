// The two inner loops of attention over an instruction set S (kernels/cpu/simd_*.h): M query rows
// against units of kWidth tokens of K, and M rows of P against units of kWidth dimensions of V. M
// and the number of units N are register blocking alone and change no bits.
#pragma once

#include "kernels/cpu/attention.h"
#include "kernels/cpu/kv_tile.h"

namespace pagoda::cpu {

inline constexpr int64_t kScoreStride =
    kAttentionChunk;                  // floats from a row's scores to the next's
inline constexpr int kRunTokens = 8;  // V rows known to be contiguous: the smallest block
inline constexpr int kRunsPerStep = kAttentionStep / kRunTokens;

[[gnu::always_inline]] constexpr int Min(int a, int b) { return a < b ? a : b; }
[[gnu::always_inline]] constexpr int Max(int a, int b) { return a > b ? a : b; }
// REQUIRES: unit is a power of two.
[[gnu::always_inline]] constexpr int AlignDown(int position, int unit) { return position & -unit; }

// What the loops fetch for a later step while they compute: K or V of its two 16-token groups, each
// contiguous. Hardware prefetchers lose their way at the end of every tile.
struct Ahead {
  const std::byte* group[kAttentionStep / kTileLanes];
  int64_t cell_bytes;  // from a cell to the next; 0: nothing to fetch, the groups are any memory at
                       // hand
};

// Fetches the cache lines of a cell.
template <class T>
[[gnu::always_inline]] inline void PrefetchCell(const std::byte* cell) {
  __builtin_prefetch(cell);
  if constexpr (sizeof(T) == sizeof(float)) __builtin_prefetch(cell + 64);
}

// 16-lane cells that N units of kWidth lanes span.
template <class S, int N>
inline constexpr int kCellsOf = (N * S::kWidth + kTileLanes - 1) / kTileLanes;

// out[m][kWidth u + lane] = dot(query row m, that token), units u of [unit, unit + N). Token t is
// lane t % 16 of groups[t / 16]. Rows of out are a chunk apart.
template <class S, class T, int M, int N>
void ScoreTile(const float* query,
               const T* const* groups,
               int unit,
               int64_t dim,
               const Ahead& ahead,
               float* out) {
  using V = typename S::V;
  const T* cells[N];
  int lane[N];
#pragma GCC unroll 16
  for (int n = 0; n < N; ++n) {
    cells[n] = groups[(unit + n) * S::kWidth / kTileLanes];
    lane[n] = (unit + n) * S::kWidth % kTileLanes;
  }
  const std::byte* fetch[kCellsOf<S, N>];
#pragma GCC unroll 16
  for (int i = 0; i < kCellsOf<S, N>; ++i) {
    fetch[i] = ahead.group[unit * S::kWidth / kTileLanes + i];
  }
  V sum[M][N];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) sum[m][n] = S::VZero();
  }
  for (int64_t d0 = 0; d0 < dim; d0 += 32) {
    V even[M][N], odd[M][N];
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
#pragma GCC unroll 16
      for (int n = 0; n < N; ++n) even[m][n] = odd[m][n] = S::VZero();
    }
    const int64_t end = d0 + 32 < dim ? d0 + 32 : dim;
    for (int64_t d = d0; d < end; d += 2) {
#pragma GCC unroll 16
      for (int i = 0; i < kCellsOf<S, N>; ++i) {
        PrefetchCell<T>(fetch[i]);
        fetch[i] += ahead.cell_bytes;
      }
      V k[N];
#pragma GCC unroll 16
      for (int n = 0; n < N; ++n) k[n] = S::VEven(cells[n] + d * kTileLanes, lane[n]);
#pragma GCC unroll 16
      for (int m = 0; m < M; ++m) {
        const V q = S::VSet1(query[m * dim + d]);
#pragma GCC unroll 16
        for (int n = 0; n < N; ++n) even[m][n] = S::VFma(q, k[n], even[m][n]);
      }
#pragma GCC unroll 16
      for (int n = 0; n < N; ++n) k[n] = S::VOdd(cells[n] + d * kTileLanes, lane[n]);
#pragma GCC unroll 16
      for (int m = 0; m < M; ++m) {
        const V q = S::VSet1(query[m * dim + d + 1]);
#pragma GCC unroll 16
        for (int n = 0; n < N; ++n) odd[m][n] = S::VFma(q, k[n], odd[m][n]);
      }
    }
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
#pragma GCC unroll 16
      for (int n = 0; n < N; ++n) sum[m][n] = S::VAdd(sum[m][n], S::VAdd(even[m][n], odd[m][n]));
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) {
      S::VStore(out + m * kScoreStride + int64_t{unit + n} * S::kWidth, sum[m][n]);
    }
  }
}

// sums[m] += p[m] * v for one token: the even or the odd half of the cells at `row`, from `lane`
// on. Rows of p are a chunk apart.
template <class S, class T, int M, int N, bool kOdd>
[[gnu::always_inline]] inline void AddToken(const float* p,
                                            const T* row,
                                            int lane,
                                            typename S::V (&sums)[M][N]) {
  using V = typename S::V;
  V v[N];
#pragma GCC unroll 16
  for (int n = 0; n < N; ++n) {
    const int at = lane + n * S::kWidth;
    const T* cell = row + int64_t{at / kTileLanes} * 2 * kTileLanes;
    v[n] = kOdd ? S::VOdd(cell, at % kTileLanes) : S::VEven(cell, at % kTileLanes);
  }
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
    const V weight = S::VSet1(p[m * kScoreStride]);
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) sums[m][n] = S::VFma(weight, v[n], sums[m][n]);
  }
}

// acc[m][lane] += the sum over tokens [low, high) of a 32-token step of p[m][token] * v[token][d +
// lane], N units of kWidth dimensions from d on. Rows of p are a chunk apart, rows of acc `dim`;
// run i of `runs` holds the V rows of the step's tokens [8 i, 8 i + 8). kAll: low = 0, high = 32.
// Tokens outside [low, high) are not multiplied, not even by zero.
template <class S, class T, int M, int N, bool kAll>
void ValueTile(const float* p,
               const T* const* runs,
               int64_t d,
               int64_t dim,
               int low,
               int high,
               const Ahead& ahead,
               float* acc) {
  using V = typename S::V;
  V even[M][N], odd[M][N];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) even[m][n] = odd[m][n] = S::VZero();
  }
  const int64_t column = d / kTileLanes;
  const int lane = static_cast<int>(d % kTileLanes);
  for (int run = 0; run < kRunsPerStep; ++run) {
    const int begin = run * kRunTokens;
    if (!kAll && (begin + kRunTokens <= low || begin >= high)) continue;
    const T* row = runs[run] + column * 2 * kTileLanes;
    // Fetched in the order in which this loop reads: a column of a group is 8 cells, 4 to a run.
    const int64_t cell = column * 8 + (run % 2 == 0 ? 0 : 4);
    const std::byte* fetch = ahead.group[run / 2] + cell * ahead.cell_bytes;
    for (int token = begin; token < begin + kRunTokens; token += 2, row += 2 * dim) {
#pragma GCC unroll 16
      for (int i = 0; i < kCellsOf<S, N>; ++i) PrefetchCell<T>(fetch + ahead.cell_bytes * 8 * i);
      fetch += ahead.cell_bytes;
      if (kAll || (token >= low && token < high)) {
        AddToken<S, T, M, N, false>(p + token, row, lane, even);
      }
      if (kAll || (token + 1 >= low && token + 1 < high)) {
        AddToken<S, T, M, N, true>(p + token + 1, row, lane, odd);
      }
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) {
      float* at = acc + m * dim + int64_t{n} * S::kWidth;
      S::VStore(at, S::VAdd(S::VLoad(at), S::VAdd(even[m][n], odd[m][n])));
    }
  }
}

}  // namespace pagoda::cpu
