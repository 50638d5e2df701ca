// The linear kernel over a vector type S; included by exactly the files linear_<isa>.cc.
#pragma once

#include <cstdint>

#include "kernels/cpu/exp.h"
#include "kernels/cpu/linear.h"
#include "kernels/cpu/simd_io.h"

namespace pagoda::cpu {

inline constexpr int kGroupCols = kLinearGroup * kPanel;
// How far a lone tile of three rows or more fetches its own weights ahead; with fewer rows the
// hardware's prefetcher keeps up better alone.
inline constexpr int kAheadSteps = 8;
inline constexpr int kRunSteps = 16;  // 512 k: a group's run of bf16 weights is 64 KiB

// One step's even (Parity 0) or odd chains: R rows of x times N native vectors of columns.
template <class S, class T, int Parity, int R, int N>
[[gnu::always_inline]] inline void Chains(const float* x,
                                          int64_t x_stride,
                                          const T* w,
                                          int64_t panel_stride,
                                          typename S::V (&chain)[R][N]) {
  constexpr int kVectors = kPanel / S::kWidth;  // per panel
#pragma GCC unroll 16
  for (int m = 0; m < R; ++m) {
#pragma GCC unroll 16
    for (int j = 0; j < N; ++j) chain[m][j] = S::VZero();
  }
#pragma GCC unroll 4
  for (int pair = 0; pair < kStep / 2; ++pair) {
    typename S::V b[N];
#pragma GCC unroll 16
    for (int j = 0; j < N; ++j) {
      const T* cell = w + j / kVectors * panel_stride + pair * 2 * kPanel;
      const int lane = j % kVectors * S::kWidth;
      b[j] = Parity == 0 ? S::VEven(cell, lane) : S::VOdd(cell, lane);
    }
#pragma GCC unroll 16
    for (int m = 0; m < R; ++m) {
      const typename S::V a = S::VSet1(x[m * x_stride + 2 * pair + Parity]);
#pragma GCC unroll 16
      for (int j = 0; j < N; ++j) chain[m][j] = S::VFma(a, b[j], chain[m][j]);
    }
  }
}

// Weights that a later run will want: of every step, cache lines [begin, end) of each panel.
template <class T>
struct Ahead {
  static constexpr int kStepLines = kStep * kPanel * sizeof(T) / 64;

  const T* weights;  // as LinearTile's w; null: none
  int begin, end;
};

// sum[m][j] gains `steps` steps, one after the other. Even and odd chains take turns in the
// registers, so R * N of them and a few are all it needs.
template <class S, class T, int R, int N>
void LinearTile(const float* x,
                int64_t x_stride,
                const T* w,
                int64_t panel_stride,
                int64_t steps,
                float* sum,
                Ahead<T> ahead) {
  using V = typename S::V;
  for (int64_t step = 0; step < steps; ++step, x += kStep, w += kStep * kPanel) {
    if (ahead.weights != nullptr) {
      for (int p = 0; p < N * S::kWidth; p += kPanel) {
        const T* from = ahead.weights + p / kPanel * panel_stride + step * kStep * kPanel;
        for (int line = ahead.begin; line < ahead.end; ++line) {
          __builtin_prefetch(from + line * (64 / sizeof(T)), 0, 2);
        }
      }
    }
    V even[R][N], odd[R][N];
    Chains<S, T, 0, R, N>(x, x_stride, w, panel_stride, even);
    Chains<S, T, 1, R, N>(x, x_stride, w, panel_stride, odd);
#pragma GCC unroll 16
    for (int m = 0; m < R; ++m) {
#pragma GCC unroll 16
      for (int j = 0; j < N; ++j) {
        float* s = sum + m * kGroupCols + j * S::kWidth;
        S::VStore(s, S::VAdd(S::VLoad(s), S::VAdd(even[m][j], odd[m][j])));
      }
    }
  }
}

// Tiles over `rows` <= R rows and `panels` panels of a group.
template <class S, class T, int R>
void LinearTiles(const float* x,
                 int64_t x_stride,
                 const T* w,
                 int64_t panel_stride,
                 int rows,
                 int panels,
                 int64_t steps,
                 float* sum,
                 Ahead<T> ahead) {
  if constexpr (R > 1) {
    if (rows < R) {
      return LinearTiles<S, T, R - 1>(x,
                                      x_stride,
                                      w,
                                      panel_stride,
                                      rows,
                                      panels,
                                      steps,
                                      sum,
                                      ahead);
    }
  }
  constexpr int kVectors = kPanel / S::kWidth;  // per panel
  constexpr int kTilePanels = S::kTileVectors / kVectors;
  const auto from = [&](int p) {
    Ahead<T> tile = ahead;
    if (tile.weights != nullptr) tile.weights += p * panel_stride;
    return tile;
  };
  int p = 0;
  for (; p + kTilePanels <= panels; p += kTilePanels) {
    LinearTile<S, T, R, S::kTileVectors>(x,
                                         x_stride,
                                         w + p * panel_stride,
                                         panel_stride,
                                         steps,
                                         sum + p * kPanel,
                                         from(p));
  }
  if constexpr (kTilePanels > 1) {
    for (; p < panels; ++p) {
      LinearTile<S, T, R, kVectors>(x,
                                    x_stride,
                                    w + p * panel_stride,
                                    panel_stride,
                                    steps,
                                    sum + p * kPanel,
                                    from(p));
    }
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
    const F v = S::Load(sum + p * kPanel);
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
      if (tiles == 1) next = count > 2 ? w + (k + kAheadSteps * kStep) * kPanel : nullptr;
      for (int tile = 0; tile < tiles; ++tile) {
        const int m = count * tile / tiles;
        const Ahead<T> ahead = {next,
                                Ahead<T>::kStepLines * tile / tiles,
                                Ahead<T>::kStepLines * (tile + 1) / tiles};
        LinearTiles<S, T, S::kTileRows>(x + m * x_stride + k,
                                        x_stride,
                                        w + k * kPanel,
                                        panel_stride,
                                        count * (tile + 1) / tiles - m,
                                        panels,
                                        steps,
                                        sum + m * kGroupCols,
                                        ahead);
      }
    }
    AddSlice<S>(slice, weight.slices, floats, sum, sum + kLinearRows * kGroupCols);
  }
  for (int m = 0; m < count; ++m) {
    FinishRow<S, T>(args, row + m, first, panels, sum + m * kGroupCols);
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
