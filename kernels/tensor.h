// Views of two-dimensional data. A view owns nothing; whoever made the memory keeps it alive.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/dtype.h"

namespace pagoda {

// Device memory (on the CPU backend: host memory, 64-byte aligned), writable, rows of `cols`
// contiguous elements.
struct TensorView {
  void* data = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t row_stride = 0;  // elements from one row to the next, >= cols

  template <class T>
  T* Row(int64_t row) const {
    return static_cast<T*>(data) + row * row_stride;
  }

  // Rows [begin, begin + count).
  TensorView Rows(int64_t begin, int64_t count) const {
    TensorView view = *this;
    view.data = static_cast<char*>(data) + begin * row_stride * DTypeSize(dtype);
    view.rows = count;
    return view;
  }

  // Columns [begin, begin + count).
  TensorView Cols(int64_t begin, int64_t count) const {
    TensorView view = *this;
    view.data = static_cast<char*>(data) + begin * DTypeSize(dtype);
    view.cols = count;
    return view;
  }
};

// Host memory, read only, as a checkpoint file holds it: row-major, any alignment, little endian.
// A vector has rows == 1. A tensor-parallel shard is a view with the whole tensor's row stride.
struct HostTensor {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t row_stride = 0;  // elements
};

}  // namespace pagoda
