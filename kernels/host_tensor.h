// Checking a checkpoint's tensors, and reading their elements (any of the three dtypes, any
// alignment) as float or as bf16 bits: exact where the target holds the value, else to nearest
// even.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "kernels/tensor.h"

namespace pagoda {

template <class T>
T ReadAs(const std::byte* from, DType dtype) {
  uint16_t half = 0;
  float value = 0;
  if (dtype == DType::kF32) {
    std::memcpy(&value, from, sizeof value);
  } else {
    std::memcpy(&half, from, sizeof half);
    value = dtype == DType::kBf16 ? Bf16ToF32(half) : F16ToF32(half);
  }
  if constexpr (std::is_same_v<T, float>) {
    return value;
  } else {
    static_assert(std::is_same_v<T, uint16_t>);
    return dtype == DType::kBf16 ? half : F32ToBf16(value);
  }
}

// out[0, count) = columns [col, col + count) of a row.
template <class T>
void ReadRow(const HostTensor& tensor, int64_t row, int64_t col, int64_t count, T* out) {
  const size_t size = DTypeSize(tensor.dtype);
  const std::byte* from =
      static_cast<const std::byte*>(tensor.data) + (row * tensor.row_stride + col) * size;
  constexpr DType kOwn = std::is_same_v<T, float> ? DType::kF32 : DType::kBf16;
  if (tensor.dtype == kOwn) {
    std::memcpy(out, from, count * size);
    return;
  }
  for (int64_t i = 0; i < count; ++i) out[i] = ReadAs<T>(from + i * size, tensor.dtype);
}

// No model has a dimension near this; below it no product of two overflows.
inline constexpr int64_t kMaxDimension = int64_t{1} << 28;

// INVALID_ARGUMENT, naming `what`, unless the tensor is [rows, cols] with data; rows or cols < 0:
// any.
absl::Status CheckHostTensor(const HostTensor& tensor,
                             int64_t rows,
                             int64_t cols,
                             absl::string_view what);

}  // namespace pagoda
