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

}  // namespace pagoda::cuda
