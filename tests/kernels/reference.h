// Naive references of the numeric contract (kernels/NUMERICS.md), written from its text alone: one
// scalar operation after the other, no blocking, no vectors. Slow on purpose.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/dtype.h"

namespace pagoda::reference {

// A matrix of values of one dtype, held as floats that the dtype represents exactly.
struct Matrix {
  int64_t rows = 0;
  int64_t cols = 0;
  std::vector<float> values;

  float& at(int64_t row, int64_t col) { return values[row * cols + col]; }
  float at(int64_t row, int64_t col) const { return values[row * cols + col]; }
};

// Normal values of about `scale`, rounded to `dtype`; the same for the same seed.
Matrix Random(int64_t rows, int64_t cols, DType dtype, uint64_t seed, float scale = 1);

// `value` after a trip through `dtype`.
float Rounded(float value, DType dtype);

// The bytes of a matrix in `dtype`, as a checkpoint holds them.
std::vector<std::byte> Encode(const Matrix& matrix, DType dtype);

// sum over k of a[k] * b[k]: contract ("Dot product") and in double.
float Dot(const float* a, const float* b, int64_t k);
double DotDouble(const float* a, const float* b, int64_t k);

// `slices` dot products added by the binary tree.
float SlicedDot(const float* a, const float* b, int64_t k, int slices);

float Exp(float x);
float SiluMul(float gate, float up);

// The lane tree over the squares of x, then the norm (see "Embedding, norm, RoPE").
std::vector<float> RmsNorm(const std::vector<float>& x,
                           const std::vector<float>& weight,
                           float epsilon);

// Denormals count as equal only when their bits are; any NaN equals any NaN.
bool SameBits(float a, float b);

}  // namespace pagoda::reference
