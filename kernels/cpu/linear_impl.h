// The linear kernel over a vector type S; included by exactly the files linear_<isa>.cc.
#pragma once

#include <cstdint>

#include "kernels/cpu/exp.h"
#include "kernels/cpu/linear.h"
#include "kernels/cpu/simd_io.h"

namespace pagoda::cpu {

inline constexpr int kGroupCols = kLinearGroup * kPanel;
inline constexpr int kPairs = kStep / 2;  // cells of a step
inline constexpr int kRunSteps = 4;       // 128 k: a group's run of bf16 weights is 16 KiB
inline constexpr int kAheadSteps = 4;     // how far a lone tile fetches its own weights ahead

// A tile's share of the work: `steps` steps of some rows and panels.
template <class T>
struct Tile {
  const float* x;  // widened, at the first row and k
  int64_t x_stride;
  const T* w;  // at the first panel and k
  int64_t panel_stride;
  int64_t steps;
  float* sum;  // rows of kGroupCols
  // Weights that a later tile wants, laid out as w: while it works on a step, the tile fetches
  // cells [ahead_begin, ahead_end) of that step of each panel. Null: none.
  const T* ahead;
  int ahead_begin, ahead_end;

  Tile Panel(int p) const {
    Tile tile = *this;
    tile.w += p * panel_stride;
    if (ahead != nullptr) tile.ahead += p * panel_stride;
    tile.sum += p * kPanel;
    return tile;
  }
};

// The even chains, the odd chains or both of step `step`: R rows of x times N native vectors.
template <class S, class T, int R, int N, bool kEven, bool kOdd>
[[gnu::always_inline]] inline void Chains(const Tile<T>& tile,
                                          int64_t step,
                                          typename S::V (&even)[R][N],
                                          typename S::V (&odd)[R][N]) {
  using V = typename S::V;
  constexpr int kVectors = kPanel / S::kWidth;  // per panel
  const float* x = tile.x + step * kStep;
  const int64_t at = step * kStep * kPanel;
#pragma GCC unroll 16
  for (int m = 0; m < R; ++m) {
#pragma GCC unroll 16
    for (int j = 0; j < N; ++j) {
      if (kEven) even[m][j] = S::VZero();
      if (kOdd) odd[m][j] = S::VZero();
    }
  }
#pragma GCC unroll 4
  for (int pair = 0; pair < kPairs; ++pair) {
    V e[N], o[N];
#pragma GCC unroll 16
    for (int j = 0; j < N; ++j) {
      const int64_t cell = at + j / kVectors * tile.panel_stride + pair * 2 * kPanel;
      const int lane = j % kVectors * S::kWidth;
      if (kEven) e[j] = S::VEven(tile.w + cell, lane);
      if (kOdd) o[j] = S::VOdd(tile.w + cell, lane);
      if (kEven && lane == 0 && pair >= tile.ahead_begin && pair < tile.ahead_end) {
        for (size_t i = 0; i < sizeof(T) / 2; ++i) {
          __builtin_prefetch(tile.ahead + cell + i * kPanel, 0, 2);
        }
      }
    }
#pragma GCC unroll 16
    for (int m = 0; m < R; ++m) {
      const float* a = x + m * tile.x_stride + 2 * pair;
#pragma GCC unroll 16
      for (int j = 0; j < N; ++j) {
        if (kEven) even[m][j] = S::VFma(S::VSet1(a[0]), e[j], even[m][j]);
        if (kOdd) odd[m][j] = S::VFma(S::VSet1(a[1]), o[j], odd[m][j]);
      }
    }
  }
}

// sum[m][j] gains the tile's steps, one after the other. Where both chains fit in the registers
// they run together, which reads a weight once; else they take turns, which allows twice the rows.
template <class S, class T, int R, int N>
void RunTile(const Tile<T>& tile) {
  using V = typename S::V;
  for (int64_t step = 0; step < tile.steps; ++step) {
    V even[R][N], odd[R][N];
    if constexpr (2 * R * N <= S::kJointChains) {
      Chains<S, T, R, N, true, true>(tile, step, even, odd);
    } else {
      Chains<S, T, R, N, true, false>(tile, step, even, odd);
      Chains<S, T, R, N, false, true>(tile, step, even, odd);
    }
#pragma GCC unroll 16
    for (int m = 0; m < R; ++m) {
#pragma GCC unroll 16
      for (int j = 0; j < N; ++j) {
        float* s = tile.sum + m * kGroupCols + j * S::kWidth;
        S::VStore(s, S::VAdd(S::VLoad(s), S::VAdd(even[m][j], odd[m][j])));
      }
    }
  }
}

// A tile of `rows` <= R rows and `panels` panels of a group.
template <class S, class T, int R>
void RunTiles(const Tile<T>& tile, int rows, int panels) {
  if constexpr (R > 1) {
    if (rows < R) return RunTiles<S, T, R - 1>(tile, rows, panels);
  }
  constexpr int kVectors = kPanel / S::kWidth;  // per panel
  constexpr int kTilePanels = S::TileVectors(R) / kVectors;
  int p = 0;
  for (; p + kTilePanels <= panels; p += kTilePanels) {
    RunTile<S, T, R, S::TileVectors(R)>(tile.Panel(p));
  }
  if constexpr (kTilePanels > 1) {
    for (; p < panels; ++p) RunTile<S, T, R, kVectors>(tile.Panel(p));
  }
}

// Widens columns of rows [row, row + count) of x to f32, zeros from `in` to `padded_in`.
template <class S, class T>
void WidenRows(const LinearArgs& args, int64_t row, int count, float* out, int64_t out_stride) {
  const int64_t in = args.weight->in;
  for (int m = 0; m < count; ++m, out += out_stride) {
    const int64_t from = args.x_row == nullptr ? row + m : args.x_row[row + m];
    const T* x = static_cast<const T*>(args.x) + from * args.x_stride;
    for (int64_t k = 0; k < args.weight->padded_in; k += S::kLanes) {
      S::Store(out + k, LoadAs<S>(x + k, in - k));
    }
  }
}

// The slice tree as slices arrive in order: a finished subtree waits in partials[level] until its
// right sibling comes. After the last slice the total is in `sum`.
template <class S>
void AddSlice(int slice, int slices, int64_t floats, float* sum, float* partials) {
  if (slices == 1) return;
  int level = 0;
  for (; slice >> level & 1; ++level) {
    const float* left = partials + level * floats;
    for (int64_t i = 0; i < floats; i += S::kLanes) {
      S::Store(sum + i, S::Add(S::Load(left + i), S::Load(sum + i)));
    }
  }
  if (slice + 1 == slices) return;
  float* keep = partials + level * floats;
  for (int64_t i = 0; i < floats; i += S::kLanes) {
    S::Store(keep + i, S::Load(sum + i));
    S::Store(sum + i, S::Zero());
  }
}

template <class S>
typename S::F SiluMul(typename S::F gate, typename S::F up) {
  const typename S::F e = Exp<S>(S::Sub(S::Zero(), gate));
  return S::Mul(S::Div(gate, S::Add(S::Set1(1.0f), e)), up);
}

// Bias and epilogue of one row of a group that starts at panel `first`.
template <class S, class T>
void FinishRow(const LinearArgs& args, int64_t row, int64_t first, int panels, const float* sum) {
  using F = typename S::F;
  const PackedLinear& weight = *args.weight;
  const auto value = [&](int p) -> F {
    const F v = S::Load(sum + int64_t{p} * kPanel);
    if (weight.bias == nullptr) return v;
    return S::Add(v, S::Load(weight.bias + (first + p) * kPanel));
  };
  if (weight.epilogue == Epilogue::kSiluMul) {
    T* y = static_cast<T*>(args.y) + row * args.y_stride;
    for (int p = 0; p < panels; p += 2) {
      const int64_t col = (first + p) / 2 * kPanel;
      StoreAs<S>(y + col, SiluMul<S>(value(p), value(p + 1)), weight.out - col);
    }
    return;
  }
  float* y = static_cast<float*>(args.y) + row * args.y_stride;
  for (int p = 0; p < panels; ++p) {
    const int64_t col = (first + p) * kPanel;
    StoreAs<S>(y + col, value(p), weight.out - col);
  }
}

// Rows [row, row + count) of the group's panels. x: widened rows. Steps are taken in runs, each
// over all rows, so that a run of weights stays in the first-level caches; the tiles of one run
// fetch the next from memory, which alone would be waited for row by row.
template <class S, class T>
void LinearGroup(const LinearArgs& args,
                 int64_t row,
                 int count,
                 int64_t first,
                 int panels,
                 const float* x,
                 int64_t x_stride,
                 float* sum) {
  const PackedLinear& weight = *args.weight;
  const int64_t panel_stride = weight.padded_in * kPanel;
  const T* w = static_cast<const T*>(weight.data) + first * panel_stride;
  const T* next_group = first + panels < args.panel_end ? w + panels * panel_stride : nullptr;
  const int64_t floats = static_cast<int64_t>(count) * kGroupCols;
  const int64_t slice_steps = weight.padded_in / kStep / weight.slices;
  const int tiles = (count + S::kTileRows - 1) / S::kTileRows;  // of about equal rows
  const int64_t run = tiles == 1 ? slice_steps : kRunSteps;
  for (int64_t i = 0; i < floats; i += S::kLanes) S::Store(sum + i, S::Zero());
  for (int slice = 0; slice < weight.slices; ++slice) {
    for (int64_t done = 0; done < slice_steps; done += run) {
      const int64_t steps = slice_steps - done < run ? slice_steps - done : run;
      const int64_t k = (slice * slice_steps + done) * kStep;
      const int64_t next_k = k + steps * kStep;
      const T* next = next_k < weight.padded_in ? w + next_k * kPanel : next_group;
      if (tiles == 1) next = w + (k + int64_t{kAheadSteps} * kStep) * kPanel;
      for (int tile = 0; tile < tiles; ++tile) {
        const int m = count * tile / tiles;
        const int fetched = next == nullptr ? 0 : kPairs;
        RunTiles<S, T, S::kTileRows>({.x = x + m * x_stride + k,
                                      .x_stride = x_stride,
                                      .w = w + k * kPanel,
                                      .panel_stride = panel_stride,
                                      .steps = steps,
                                      .sum = sum + int64_t{m} * kGroupCols,
                                      .ahead = next,
                                      .ahead_begin = fetched * tile / tiles,
                                      .ahead_end = fetched * (tile + 1) / tiles},
                                     count * (tile + 1) / tiles - m,
                                     panels);
      }
    }
    AddSlice<S>(slice, weight.slices, floats, sum, sum + int64_t{kLinearRows} * kGroupCols);
  }
  for (int m = 0; m < count; ++m) {
    FinishRow<S, T>(args, row + m, first, panels, sum + int64_t{m} * kGroupCols);
  }
}

template <class S, class T>
void LinearRun(const LinearArgs& args) {
  const int64_t x_stride = args.weight->padded_in + kLinearRowPadding;
  float* x = args.scratch;
  float* sum = x + kLinearRows * x_stride;
  for (int64_t row = 0; row < args.rows; row += kLinearRows) {
    const int count =
        static_cast<int>(args.rows - row < kLinearRows ? args.rows - row : kLinearRows);
    WidenRows<S, T>(args, row, count, x, x_stride);
    for (int64_t first = args.panel_begin; first < args.panel_end; first += kLinearGroup) {
      const int64_t left = args.panel_end - first;
      const int panels = static_cast<int>(left < kLinearGroup ? left : kLinearGroup);
      LinearGroup<S, T>(args, row, count, first, panels, x, x_stride, sum);
    }
  }
}

template <class S>
void Linear(const LinearArgs& args) {
  if (args.weight->dtype == DType::kF32) {
    LinearRun<S, float>(args);
  } else {
    LinearRun<S, uint16_t>(args);
  }
}

}  // namespace pagoda::cpu
