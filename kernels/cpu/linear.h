// y = x W^T + bias over packed weights. kernels/NUMERICS.md, "Dot product" and "Linear", says what
// is computed; how rows and columns are blocked changes no bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"

namespace pagoda::cpu {

inline constexpr int kPanel = 16;             // columns of y per panel
inline constexpr int kStep = 32;              // k per step of the two chains
inline constexpr int kMaxSlices = 8;          // K-slices of a row-parallel linear
inline constexpr int kLinearRows = 96;        // rows of x that are widened at a time
inline constexpr int kLinearGroup = 4;        // panels that are summed at a time
inline constexpr int kLinearPartials = 3;     // levels of the slice tree held back
inline constexpr int kLinearRowPadding = 16;  // floats between widened rows: keeps them off each
                                              // other's cache sets

// W in panels of 16 outputs: [panel][k / 2] cells of 16 pairs; a bf16 cell is [16][2], an f32 cell
// [2][16]. Absent outputs and k are zero. With kSiluMul panels alternate: gate, up, gate, up...
struct PackedLinear {
  const void* data = nullptr;
  const float* bias = nullptr;  // [panels * 16], or null
  DType dtype = DType::kBf16;
  Epilogue epilogue = Epilogue::kStore;
  int64_t in = 0;         // columns of x
  int64_t padded_in = 0;  // in, rounded up to a multiple of kStep * slices
  int64_t panels = 0;     // an even number with kSiluMul
  int64_t out = 0;        // columns of y, after the epilogue
  int slices = 1;         // of this rank, a power of two

  size_t PanelElements() const { return static_cast<size_t>(padded_in) * kPanel; }
};

// Panels [panel_begin, panel_end) of all rows. With kSiluMul both are even.
struct LinearArgs {
  const PackedLinear* weight;
  const void* x;         // [rows][in], the weight's dtype
  int64_t x_stride;      // elements
  const int32_t* x_row;  // y's row i is x's row x_row[i]; null: i
  void* y;               // f32, or the weight's dtype with kSiluMul
  int64_t y_stride;      // elements
  int64_t rows;
  int64_t panel_begin, panel_end;
  float* scratch;  // LinearScratchFloats(weight->padded_in), 64-byte aligned, this thread's own
};

// A thread's scratch: widened rows of x, and sums and partial sums of one group of panels.
constexpr size_t LinearScratchFloats(int64_t padded_in) {
  return static_cast<size_t>(kLinearRows) *
         (padded_in + kLinearRowPadding + int64_t{1 + kLinearPartials} * kLinearGroup * kPanel);
}

// REQUIRES: denormals flushed on this thread.
using LinearFn = void (*)(const LinearArgs& args);

void LinearScalar(const LinearArgs& args);
void LinearAvx2(const LinearArgs& args);
void LinearAvx512(const LinearArgs& args);

}  // namespace pagoda::cpu
