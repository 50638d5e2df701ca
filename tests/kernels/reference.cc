#include "tests/kernels/reference.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <random>

namespace pagoda::reference {

Matrix Random(int64_t rows, int64_t cols, DType dtype, uint64_t seed, float scale) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<float> normal(0, scale);
  Matrix matrix{rows, cols, std::vector<float>(rows * cols)};
  for (float& value : matrix.values) value = Rounded(normal(generator), dtype);
  return matrix;
}

float Rounded(float value, DType dtype) {
  return dtype == DType::kBf16 ? Bf16ToF32(F32ToBf16(value)) : value;
}

std::vector<std::byte> Encode(const Matrix& matrix, DType dtype) {
  std::vector<std::byte> bytes(matrix.values.size() * DTypeSize(dtype));
  for (size_t i = 0; i < matrix.values.size(); ++i) {
    if (dtype == DType::kF32) {
      std::memcpy(&bytes[i * 4], &matrix.values[i], 4);
    } else {
      const uint16_t bits = F32ToBf16(matrix.values[i]);
      std::memcpy(&bytes[i * 2], &bits, 2);
    }
  }
  return bytes;
}

float Dot(const float* a, const float* b, int64_t k) {
  float sum = 0;
  for (int64_t begin = 0; begin < k; begin += 32) {
    float chain[2] = {0, 0};
    for (int64_t i = begin; i < begin + 32; ++i) {
      const bool inside = i < k;
      chain[i % 2] = std::fma(inside ? a[i] : 0.0f, inside ? b[i] : 0.0f, chain[i % 2]);
    }
    sum = sum + (chain[0] + chain[1]);
  }
  return sum;
}

double DotDouble(const float* a, const float* b, int64_t k) {
  double sum = 0;
  for (int64_t i = 0; i < k; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

float SlicedDot(const float* a, const float* b, int64_t k, int slices) {
  if (slices == 1) return Dot(a, b, k);
  const float left = SlicedDot(a, b, k / 2, slices / 2);
  const float right = SlicedDot(a + k / 2, b + k / 2, k / 2, slices / 2);
  return left + right;
}

float Exp(float x) {
  if (x < -86.5f) return 0;
  const float c = 89.0f < x ? 89.0f : x;
  const float product = c * 0x1.715476p+0f;
  const float shifted = product + 0x1.8p23f;
  const float n = shifted - 0x1.8p23f;
  float r = std::fma(n, -0x1.628p-1f, c);
  r = std::fma(n, -0x1.90bfbep-11f, r);
  float q = 0x1.6d1146p-10f;
  for (float coefficient : {0x1.120bacp-7f, 0x1.55551ap-5f, 0x1.5554dcp-3f, 0.5f}) {
    q = std::fma(q, r, coefficient);
  }
  const float square = r * r;
  q = std::fma(square, q, r) + 1.0f;
  if (std::isnan(n)) return n;
  const float half = q * std::ldexp(1.0f, static_cast<int>(n) - 1);
  return half + half;
}

float SiluMul(float gate, float up) { return gate / (1.0f + Exp(0.0f - gate)) * up; }

std::vector<float> RmsNorm(const std::vector<float>& x,
                           const std::vector<float>& weight,
                           float epsilon) {
  float lane[16] = {};
  for (size_t i = 0; i < (x.size() + 15) / 16 * 16; ++i) {
    const float value = i < x.size() ? x[i] : 0;
    lane[i % 16] = std::fma(value, value, lane[i % 16]);
  }
  for (int half : {8, 4, 2, 1}) {
    for (int i = 0; i < half; ++i) lane[i] = lane[i] + lane[i + half];
  }
  const float mean = lane[0] / static_cast<float>(x.size());
  const float scale = 1.0f / std::sqrt(mean + epsilon);
  std::vector<float> y(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const float scaled = x[i] * scale;
    y[i] = scaled * weight[i];
  }
  return y;
}

bool SameBits(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
}

}  // namespace pagoda::reference
