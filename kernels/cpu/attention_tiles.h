// The two inner loops of attention over an instruction set S (kernels/cpu/simd_*.h): M query rows
// against units of kWidth tokens of K, and M rows of P against units of kWidth dimensions of V. M
// and the number of units N are register blocking alone and change no bits.
#pragma once

#include "kernels/cpu/attention.h"
#include "kernels/cpu/kv_tile.h"

namespace pagoda::cpu {

inline constexpr int kRunTokens = 8;  // V rows known to be contiguous: the smallest block
inline constexpr int kRunsPerStep = kAttentionStep / kRunTokens;

[[gnu::always_inline]] constexpr int Min(int a, int b) { return a < b ? a : b; }
[[gnu::always_inline]] constexpr int Max(int a, int b) { return a > b ? a : b; }
// REQUIRES: unit is a power of two.
[[gnu::always_inline]] constexpr int AlignDown(int position, int unit) { return position & -unit; }

// What the loops fetch for a later step while they compute: K or V of its two 16-token groups, each
// contiguous. Null: nothing. Hardware prefetchers lose their way at the end of every tile.
struct Ahead {
  const std::byte* group[kAttentionStep / kTileLanes] = {};
};

// Fetches the cache lines of cell `cell` of a group.
template <class T>
[[gnu::always_inline]] inline void PrefetchCell(const std::byte* group, int cell) {
  if (group == nullptr) return;
  constexpr int kLine = 64;
  constexpr int kCellBytes = 2 * kTileLanes * sizeof(T);
  for (int at = 0; at < kCellBytes; at += kLine) {
    __builtin_prefetch(group + cell * kCellBytes + at);
  }
}

// out[m][kWidth u + lane] = dot(query row m, that token), units u of [unit, unit + N). Token t is
// lane t % 16 of groups[t / 16]. Rows of out are a chunk apart.
template <class S, class T, int M, int N>
void ScoreTile(const float* query,
               const T* const* groups,
               int unit,
               int dim,
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
  V sum[M][N];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) sum[m][n] = S::VZero();
  }
  for (int d0 = 0; d0 < dim; d0 += 32) {
    V even[M][N], odd[M][N];
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
#pragma GCC unroll 16
      for (int n = 0; n < N; ++n) even[m][n] = odd[m][n] = S::VZero();
    }
    const int end = Min(d0 + 32, dim);
    for (int d = d0; d < end; d += 2) {
      V k[N];
#pragma GCC unroll 16
      for (int n = 0; n < N; ++n) {
        if (lane[n] == 0) PrefetchCell<T>(ahead.group[(unit + n) * S::kWidth / kTileLanes], d / 2);
        k[n] = S::VEven(cells[n] + d * kTileLanes, lane[n]);
      }
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
      S::VStore(out + m * kAttentionChunk + (unit + n) * S::kWidth, sum[m][n]);
    }
  }
}

// acc[m][lane] += the sum over tokens [low, high) of a 32-token step of p[m][token] * v[token][d +
// lane], N units of kWidth dimensions from d on. Rows of p are a chunk apart, rows of acc `dim`;
// run i of `runs` holds the V rows of the step's tokens [8 i, 8 i + 8). kAll: low = 0, high = 32.
// Tokens outside [low, high) are not multiplied, not even by zero.
template <class S, class T, int M, int N, bool kAll>
void ValueTile(const float* p,
               const T* const* runs,
               int d,
               int dim,
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
  const int first = kAll ? 0 : low / 2;
  const int last = kAll ? kAttentionStep / 2 : (high + 1) / 2;
  for (int pair = first; pair < last; ++pair) {
    const T* row = runs[2 * pair / kRunTokens] + (2 * pair % kRunTokens) * dim;
    V v[N];
    if (kAll || 2 * pair >= low) {
#pragma GCC unroll 16
      for (int n = 0; n < N; ++n) {
        const int at = d + n * S::kWidth;
        if (at % kTileLanes == 0) {
          PrefetchCell<T>(ahead.group[pair / 8], at / kTileLanes * 8 + pair % 8);
        }
        v[n] = S::VEven(row + at / kTileLanes * 2 * kTileLanes, at % kTileLanes);
      }
#pragma GCC unroll 16
      for (int m = 0; m < M; ++m) {
        const V weight = S::VSet1(p[m * kAttentionChunk + 2 * pair]);
#pragma GCC unroll 16
        for (int n = 0; n < N; ++n) even[m][n] = S::VFma(weight, v[n], even[m][n]);
      }
    }
    if (kAll || 2 * pair + 1 < high) {
#pragma GCC unroll 16
      for (int n = 0; n < N; ++n) {
        const int at = d + n * S::kWidth;
        v[n] = S::VOdd(row + at / kTileLanes * 2 * kTileLanes, at % kTileLanes);
      }
#pragma GCC unroll 16
      for (int m = 0; m < M; ++m) {
        const V weight = S::VSet1(p[m * kAttentionChunk + 2 * pair + 1]);
#pragma GCC unroll 16
        for (int n = 0; n < N; ++n) odd[m][n] = S::VFma(weight, v[n], odd[m][n]);
      }
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) {
      float* at = acc + m * dim + n * S::kWidth;
      S::VStore(at, S::VAdd(S::VLoad(at), S::VAdd(even[m][n], odd[m][n])));
    }
  }
}

}  // namespace pagoda::cpu
