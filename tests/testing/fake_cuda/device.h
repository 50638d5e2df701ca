// What a kernel may call, as far as the project's kernels do. Barriers and collectives check that
// all their threads stand at the same line.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "tests/testing/fake_cuda/grid.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __grid_constant__

namespace pagoda::fake_cuda {

// threadIdx.x and the like: the running thread's.
template <auto kOf, unsigned uint3::*kAxis>
struct Coordinate {
  operator unsigned() const { return kOf(*current).*kAxis; }
};

template <auto kOf>
struct Coordinates {
  Coordinate<kOf, &uint3::x> x;
  Coordinate<kOf, &uint3::y> y;
  Coordinate<kOf, &uint3::z> z;
};

inline constexpr auto kThreadIndex = [](const Thread& t) { return t.index; };
inline constexpr auto kCtaIndex = [](const Thread& t) { return t.cta->index(); };
inline constexpr auto kCtaShape = [](const Thread& t) { return uint3(t.cta->shape().cta); };
inline constexpr auto kGridShape = [](const Thread& t) { return uint3(t.cta->shape().grid); };

template <class T>
uint64_t ToBits(T value) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}

template <class T>
T FromBits(uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

template <class T>
Words ToWords(T value) {
  const uint64_t bits = ToBits(value);
  return {static_cast<uint32_t>(bits), static_cast<uint32_t>(bits >> 32)};
}

// What lane `from` brought; its own where that lane is not in the mask's part of the warp.
template <class T>
T Shuffle(uint32_t mask, T value, unsigned from, const Site& site) {
  const auto& words = Collective(mask, ToWords(value), site);
  if ((mask >> from & 1) == 0) KernelError(*current, "a shuffle reads a lane outside of its mask");
  return FromBits<T>(words[from][0] | uint64_t{words[from][1]} << 32);
}

// One read-modify-write, with others before and after it.
template <class T, class Fn>
T Atomic(T* address, Fn fn) {
  Yield();
  const T old = *address;
  *address = fn(old);
  return old;
}

}  // namespace pagoda::fake_cuda

inline constexpr pagoda::fake_cuda::Coordinates<pagoda::fake_cuda::kThreadIndex> threadIdx;
inline constexpr pagoda::fake_cuda::Coordinates<pagoda::fake_cuda::kCtaIndex> blockIdx;
inline constexpr pagoda::fake_cuda::Coordinates<pagoda::fake_cuda::kCtaShape> blockDim;
inline constexpr pagoda::fake_cuda::Coordinates<pagoda::fake_cuda::kGridShape> gridDim;

inline void __syncthreads(pagoda::fake_cuda::Site site = pagoda::fake_cuda::Site::current()) {
  pagoda::fake_cuda::Barrier(site);
}

inline void __syncwarp(uint32_t mask = 0xffffffff,
                       pagoda::fake_cuda::Site site = pagoda::fake_cuda::Site::current()) {
  pagoda::fake_cuda::Collective(mask, {}, site);
}

template <class T>
T __shfl_sync(uint32_t mask,
              T value,
              int lane,
              pagoda::fake_cuda::Site site = pagoda::fake_cuda::Site::current()) {
  return pagoda::fake_cuda::Shuffle(mask, value, static_cast<unsigned>(lane) % 32, site);
}

template <class T>
T __shfl_xor_sync(uint32_t mask,
                  T value,
                  int lanes,
                  pagoda::fake_cuda::Site site = pagoda::fake_cuda::Site::current()) {
  const unsigned from = pagoda::fake_cuda::current->lane ^ static_cast<unsigned>(lanes);
  return pagoda::fake_cuda::Shuffle(mask, value, from, site);
}

inline uint32_t __ballot_sync(uint32_t mask,
                              int predicate,
                              pagoda::fake_cuda::Site site = pagoda::fake_cuda::Site::current()) {
  const auto& words =
      pagoda::fake_cuda::Collective(mask, {static_cast<uint32_t>(predicate != 0)}, site);
  uint32_t votes = 0;
  for (unsigned lane = 0; lane < 32; ++lane) {
    if (mask >> lane & 1) votes |= words[lane][0] << lane;
  }
  return votes;
}

inline int __any_sync(uint32_t mask,
                      int predicate,
                      pagoda::fake_cuda::Site site = pagoda::fake_cuda::Site::current()) {
  return __ballot_sync(mask, predicate, site) != 0;
}

inline void __threadfence() { pagoda::fake_cuda::Yield(); }

template <class T>
T atomicAdd(T* address, T value) {
  const T old = pagoda::fake_cuda::Atomic(address, [value](T seen) { return seen + value; });
  if (value == 0) pagoda::fake_cuda::Observed(address, pagoda::fake_cuda::ToBits(old));
  return old;
}

template <class T>
T atomicMax(T* address, T value) {
  return pagoda::fake_cuda::Atomic(address, [value](T old) { return old < value ? value : old; });
}

template <class T>
T atomicCAS(T* address, T expected, T value) {
  const T old =
      pagoda::fake_cuda::Atomic(address, [=](T seen) { return seen == expected ? value : seen; });
  if (old != expected || value == expected) {
    pagoda::fake_cuda::Observed(address, pagoda::fake_cuda::ToBits(old));
  }
  return old;
}

inline float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return __builtin_sqrtf(a); }
inline uint32_t __float_as_uint(float a) { return std::bit_cast<uint32_t>(a); }
inline float __uint_as_float(uint32_t a) { return std::bit_cast<float>(a); }
inline long long __double_as_longlong(double a) { return std::bit_cast<long long>(a); }
inline double __longlong_as_double(long long a) { return std::bit_cast<double>(a); }
inline int __popc(uint32_t a) { return std::popcount(a); }
