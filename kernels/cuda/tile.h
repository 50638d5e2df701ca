// Tiles of 16-bit elements in shared memory, read by ldmatrix without bank conflicts: of each row
// the 16-byte chunk c lies at place c ^ (row % 8).
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/ptx.h"

namespace pagoda::cuda {

inline constexpr int kChunk = 8;  // elements of 16 bytes

// [kRows][kColumns], kColumns a multiple of 64.
template <int kRows, int kColumns>
struct alignas(128) Tile {
  static_assert(kColumns % (8 * kChunk) == 0);
  uint16_t elements[kRows][kColumns];

  // The 16 bytes at (row, 8 * chunk).
  __device__ __forceinline__ uint16_t* At(int row, int chunk) {
    return &elements[row][(chunk ^ (row & 7)) * kChunk];
  }

  // The fragment of A of mma: rows [row, row + 16), columns [column, column + 16).
  __device__ __forceinline__ void LoadA(uint32_t (&a)[4], int lane, int row, int column) {
    LoadMatrix4(a, At(row + lane % 16, column / kChunk + lane / 16));
  }

  // The fragments of B of two mma, from a tile that holds B transposed (n x k): rows [k, k + 16) of
  // columns [n, n + 8) and [n + 8, n + 16) of B.
  __device__ __forceinline__ void LoadB(uint32_t (&b)[2][2], int lane, int n, int k) {
    uint32_t r[4];
    LoadMatrix4(r, At(n + lane / 16 * 8 + lane % 8, k / kChunk + lane / 8 % 2));
    Divide(r, b);
  }

  // The same from a tile that holds B itself (k x n).
  __device__ __forceinline__ void LoadBTransposed(uint32_t (&b)[2][2], int lane, int k, int n) {
    uint32_t r[4];
    LoadMatrix4Transposed(r, At(k + lane % 16, n / kChunk + lane / 16));
    Divide(r, b);
  }

 private:
  __device__ __forceinline__ static void Divide(const uint32_t (&r)[4], uint32_t (&b)[2][2]) {
    b[0][0] = r[0];
    b[0][1] = r[1];
    b[1][0] = r[2];
    b[1][1] = r[3];
  }
};

}  // namespace pagoda::cuda
