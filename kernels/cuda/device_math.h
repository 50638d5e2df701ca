// fp32 functions of kernels/NUMERICS.md for kernels. Denormals are flushed by the compiler's flag.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace pagoda::cuda {

// a > b ? a : b, hence b when either is NaN.
__device__ __forceinline__ float Max(float a, float b) { return a > b ? a : b; }

// exp(x), "Arithmetic".
__device__ __forceinline__ float Exp(float x) {
  const float c = x > 89.0f ? 89.0f : x;
  const float shifted = __fadd_rn(__fmul_rn(c, 0x1.715476p+0f), 0x1.8p+23f);
  const float n = __fadd_rn(shifted, -0x1.8p+23f);
  float r = __fmaf_rn(n, -0x1.628p-1f, c);
  r = __fmaf_rn(n, -0x1.90bfbep-11f, r);
  float q = 0x1.6d1146p-10f;
  q = __fmaf_rn(q, r, 0x1.120bacp-7f);
  q = __fmaf_rn(q, r, 0x1.55551ap-5f);
  q = __fmaf_rn(q, r, 0x1.5554dcp-3f);
  q = __fmaf_rn(q, r, 0.5f);
  q = __fadd_rn(__fmaf_rn(__fmul_rn(r, r), q, r), 1.0f);
  const float half = __fmul_rn(q, __uint_as_float((__float_as_uint(shifted) << 23) + (126U << 23)));
  return x < -86.5f ? 0.0f : __fadd_rn(half, half);
}

// silu(gate) * up, "Linear".
__device__ __forceinline__ float SiluMul(float gate, float up) {
  const float down = __fadd_rn(1.0f, Exp(__fadd_rn(0.0f, -gate)));
  return __fmul_rn(__fdiv_rn(gate, down), up);
}

// Natural logarithm of a positive normal number, "Sampling".
__device__ __forceinline__ float Log(float x) {
  const uint32_t bits = __float_as_uint(x);
  const int32_t exponent = static_cast<int32_t>(bits - 0x3f3504f3U) >> 23;
  const float e = static_cast<float>(exponent);
  const float f = __fadd_rn(__uint_as_float(bits - (static_cast<uint32_t>(exponent) << 23)), -1.0f);
  float p = 0x1.1d8ea6p-4f;
  p = __fmaf_rn(p, f, -0x1.d635bcp-4f);
  p = __fmaf_rn(p, f, 0x1.dea282p-4f);
  p = __fmaf_rn(p, f, -0x1.fcf4c6p-4f);
  p = __fmaf_rn(p, f, 0x1.23d21ap-3f);
  p = __fmaf_rn(p, f, -0x1.555b4ap-3f);
  p = __fmaf_rn(p, f, 0x1.999d5ap-3f);
  p = __fmaf_rn(p, f, -0x1.fffffcp-3f);
  p = __fmaf_rn(p, f, 0x1.555554p-2f);
  const float square = __fmul_rn(f, f);
  float tail = __fmul_rn(__fmul_rn(square, f), p);
  tail = __fmaf_rn(e, 0x1.7f7d1cp-20f, tail);
  tail = __fmaf_rn(square, -0.5f, tail);
  return __fmaf_rn(e, 0x1.62e4p-1f, __fadd_rn(f, tail));
}

// Gumbel noise of a random word, "Sampling".
__device__ __forceinline__ float Gumbel(uint32_t bits) {
  float v = __fmaf_rn(static_cast<float>(bits), 0x1p-32f, 0x1p-33f);
  v = v < 0x1.fffffep-1f ? v : 0x1.fffffep-1f;
  const float u = __fadd_rn(1.0f, -v);
  const float lost = __fadd_rn(__fadd_rn(1.0f, -u), -v);  // 1 - v = u + lost
  const float exponential = __fadd_rn(0.0f, -__fadd_rn(Log(u), __fdiv_rn(lost, u)));
  return __fadd_rn(0.0f, -Log(exponential));
}

// Natural logarithm of a double >= 1, "Log-probabilities".
__device__ __forceinline__ double Log(double x) {
  const uint64_t bits = static_cast<uint64_t>(__double_as_longlong(x));
  int exponent = static_cast<int>(bits >> 52) - 1023;
  double mantissa =
      __longlong_as_double(static_cast<long long>((bits & 0xfffffffffffff) | uint64_t{1023} << 52));
  if (mantissa > 1.4142135623730951) {
    mantissa /= 2;
    ++exponent;
  }
  const double z = (mantissa - 1) / (mantissa + 1);
  const double square = z * z;
  double series = 0;
  for (int n = 23; n >= 1; n -= 2) series = series * square + 1.0 / n;
  return exponent * 0x1.62e42fefa39efp-1 + 2 * z * series;
}

}  // namespace pagoda::cuda
