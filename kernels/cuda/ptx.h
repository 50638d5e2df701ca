// The PTX instructions that kernels use, each with its twin for the fake device beside it. Both do
// the same but for one thing: the twin of mma adds its sixteen products one after another in fp32,
// the instruction in its own way. Fragments are as in the PTX ISA, "Matrix Fragments for
// mma.m16n8k16"; tests/kernels/cuda/ptx_test.cu checks them.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

#include "kernels/dtype.h"

namespace pagoda::cuda {

// A 16 x 16, B 16 x 8 (k x n), C and D 16 x 8, spread over a warp. With g = lane / 4, t = lane % 4:
//   a[0], a[1]  columns 2t, 2t + 1 of rows g, g + 8 of A; a[2], a[3] the same 8 columns further
//   b[0], b[1]  rows 2t, 2t + 1 of column g of B, and the same 8 rows further
//   d[0], d[1]  columns 2t, 2t + 1 of row g of D; d[2], d[3] of row g + 8
// The lower half of a register is the element with the lower index.

#ifdef __CUDACC__

// d += A B, bf16 in, fp32 out. All lanes of the warp.
__device__ __forceinline__ void MmaBf16(float (&d)[4],
                                        const uint32_t (&a)[4],
                                        const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Four 8 x 8 matrices of 16-bit elements from shared memory. Lane 8m + i passes the address of row
// i of matrix m, 16 bytes aligned to 16. r[m]: elements 2t, 2t + 1 of row g of matrix m.
__device__ __forceinline__ void LoadMatrix4(uint32_t (&r)[4], const void* row) {
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

// The same, each matrix transposed: r[m] holds elements g of rows 2t, 2t + 1.
__device__ __forceinline__ void LoadMatrix4Transposed(uint32_t (&r)[4], const void* row) {
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

// Starts to copy `bytes` (0 to 16) from global to shared memory, zeros up to 16. Both are aligned
// to 16; when bytes is 0 `global` is not read.
__device__ __forceinline__ void CopyAsync16(void* shared, const void* global, int bytes = 16) {
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(address), "l"(global), "r"(bytes)
               : "memory");
}

// The thread's copies since the last commit are a group.
__device__ __forceinline__ void CopyAsyncCommit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most the kGroups latest groups of this thread are in flight. Other threads see
// what landed after a barrier.
template <int kGroups>
__device__ __forceinline__ void CopyAsyncWait() {
  asm volatile("cp.async.wait_group %0;" : : "n"(kGroups) : "memory");
}

#else

using fake_cuda::Site;

inline void MmaBf16(float (&d)[4],
                    const uint32_t (&a)[4],
                    const uint32_t (&b)[2],
                    const Site& site = Site::current()) {
  const auto& words = fake_cuda::Collective(0xffffffff, {a[0], a[1], a[2], a[3], b[0], b[1]}, site);
  const unsigned g = fake_cuda::current->lane / 4, t = fake_cuda::current->lane % 4;
  const auto half = [](uint32_t word, unsigned i) {
    return Bf16ToF32(static_cast<uint16_t>(word >> (16 * (i % 2))));
  };
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned row = g + 8 * (i / 2), column = 2 * t + i % 2;
    for (unsigned k = 0; k < 16; ++k) {
      const unsigned register_of_a = row / 8 + 2 * (k / 8);
      const float x = half(words[row % 8 * 4 + k % 8 / 2][register_of_a], k);
      const float y = half(words[column * 4 + k % 8 / 2][4 + k / 8], k);
      d[i] = __builtin_fmaf(x, y, d[i]);
    }
  }
}

// What a lane brings to ldmatrix: the row that it points to.
inline fake_cuda::Words MatrixRow(const void* row) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) {
    fake_cuda::KernelError(*fake_cuda::current, "a matrix row is not aligned to 16 bytes");
  }
  if (!fake_cuda::current->cta->InShared(row, 16)) {
    fake_cuda::KernelError(*fake_cuda::current, "a matrix row is not in the CTA's shared memory");
  }
  fake_cuda::Words words = {};
  std::memcpy(words.data(), row, 16);
  return words;
}

inline void LoadMatrix4(uint32_t (&r)[4], const void* row, const Site& site = Site::current()) {
  const auto& rows = fake_cuda::Collective(0xffffffff, MatrixRow(row), site);
  const unsigned g = fake_cuda::current->lane / 4, t = fake_cuda::current->lane % 4;
  for (unsigned m = 0; m < 4; ++m) r[m] = rows[8 * m + g][t];
}

inline void LoadMatrix4Transposed(uint32_t (&r)[4],
                                  const void* row,
                                  const Site& site = Site::current()) {
  const auto& rows = fake_cuda::Collective(0xffffffff, MatrixRow(row), site);
  const unsigned g = fake_cuda::current->lane / 4, t = fake_cuda::current->lane % 4;
  for (unsigned m = 0; m < 4; ++m) {
    const auto element = [&](unsigned i) { return rows[8 * m + i][g / 2] >> (16 * (g % 2)); };
    r[m] = (element(2 * t) & 0xffff) | element(2 * t + 1) << 16;
  }
}

inline void CopyAsync16(void* shared, const void* global, int bytes = 16) {
  fake_cuda::CopyAsync(shared, global, static_cast<size_t>(bytes));
}

inline void CopyAsyncCommit() { fake_cuda::CopyAsyncCommit(); }

template <int kGroups>
void CopyAsyncWait() {
  fake_cuda::CopyAsyncWait(kGroups);
}

#endif

}  // namespace pagoda::cuda
