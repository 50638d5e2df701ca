// y = x W^T on a device, as kernels/NUMERICS.md says, up to the sums inside an mma. Every output is
// computed by the same instructions in the same order of k whatever the number of rows, so a row's
// result depends on nothing else of the step.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/backend.h"
#include "kernels/dtype.h"

namespace pagoda::cuda {

// Outputs of a CTA's tile, columns of a stage: what packed weights are padded to, with zeros.
inline constexpr int kLinearColumns = 64;
inline constexpr int kLinearDepth = 64;

// A weight as the kernels read it. K is divided into `slices` of equal length, each padded to
// `depth`; their sums are added by the binary tree.
//   bf16  [slices][columns][depth]; with kSiluMul columns alternate, eight of gate, eight of up
//   f32   [slices][depth][columns]; with kSiluMul gate and up alternate
struct PackedLinear {
  const void* data = nullptr;
  const float* bias = nullptr;  // [columns], in the order of the columns; null: none
  DType dtype = DType::kBf16;
  Epilogue epilogue = Epilogue::kStore;
  int32_t in = 0;       // of x: slices * slice
  int32_t slices = 1;   // 1, 2, 4 or 8
  int32_t slice = 0;    // columns of x of a slice
  int32_t depth = 0;    // slice, padded to kLinearDepth
  int32_t columns = 0;  // padded to kLinearColumns
  int32_t out = 0;      // columns of y

  // Bytes of `data`.
  size_t Bytes() const { return DTypeSize(dtype) * slices * depth * columns; }
};

// The place of output `column` (of gate when `part` is 0, of up when it is 1) among the columns.
constexpr int32_t PackedColumn(const PackedLinear& weight, int32_t column, int part) {
  if (weight.epilogue == Epilogue::kStore) return column;
  if (weight.dtype == DType::kF32) return 2 * column + part;
  return column / 8 * 16 + part * 8 + column % 8;
}

// Where the weight of packed column `column` for x's column `k` lies, in elements.
constexpr size_t PackedOffset(const PackedLinear& weight, int32_t column, int32_t k) {
  const size_t slice = static_cast<size_t>(k / weight.slice) * weight.depth * weight.columns;
  const size_t at = k % weight.slice;
  if (weight.dtype == DType::kF32) return slice + at * weight.columns + column;
  return slice + static_cast<size_t>(column) * weight.depth + at;
}

struct LinearArgs {
  PackedLinear weight;
  const void* x = nullptr;         // [rows of x, in], rows begin on 16 bytes
  int64_t x_stride = 0;            // elements
  const int32_t* x_row = nullptr;  // row of x of each row of y; null: the same
  void* y = nullptr;               // [rows, out]: f32, or x's dtype after kSiluMul
  int64_t y_stride = 0;
  int32_t rows = 0;  // >= 1
};

// Queues the linear. Allocates nothing.
cudaError_t RunLinear(const LinearArgs& args, cudaStream_t stream);

}  // namespace pagoda::cuda
