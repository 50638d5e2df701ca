// SimdScalar: the 16-lane vector of every CPU kernel, in plain C++. It defines the meaning of each
// operation; SimdAvx2 and SimdAvx512 give the same bits. (Which NaN comes out of an operation on
// NaNs is the one thing left open; StoreBf16 makes all NaNs equal.)
//
//   F  16 floats          M  16 booleans
//   V  the native vector of kWidth floats, for kernels that count registers
//
// A kernel is a template over this type in <op>_impl.h. Every function it calls must be a member of
// S, a template over S, or always inlined: a shared inline function would be emitted once for all
// instruction sets, with one of them.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/dtype.h"

namespace pagoda::cpu {

struct SimdScalar {
  static constexpr int kLanes = 16;

  struct alignas(64) F {
    float v[kLanes];
  };
  using M = uint32_t;  // bit i: lane i

  template <class Fn>
  [[gnu::always_inline]] static F Map(Fn fn) {
    F r;
    for (int i = 0; i < kLanes; ++i) r.v[i] = fn(i);
    return r;
  }

  static F Zero() { return Set1(0); }
  static F Set1(float x) {
    return Map([&](int) { return x; });
  }
  static F Load(const float* p) {
    F r;
    std::memcpy(r.v, p, sizeof r.v);
    return r;
  }
  static void Store(float* p, F a) { std::memcpy(p, a.v, sizeof a.v); }
  // Lanes [0, n) from memory, the others 0; nothing else is read. 0 <= n <= 16.
  static F LoadN(const float* p, int n) {
    return Map([&](int i) { return i < n ? p[i] : 0.0f; });
  }
  static void StoreN(float* p, F a, int n) {
    for (int i = 0; i < n; ++i) p[i] = a.v[i];
  }

  static F Add(F a, F b) {
    return Map([&](int i) { return a.v[i] + b.v[i]; });
  }
  static F Sub(F a, F b) {
    return Map([&](int i) { return a.v[i] - b.v[i]; });
  }
  static F Mul(F a, F b) {
    return Map([&](int i) { return a.v[i] * b.v[i]; });
  }
  static F Div(F a, F b) {
    return Map([&](int i) { return a.v[i] / b.v[i]; });
  }
  // a * b + c, rounded once.
  static F Fma(F a, F b, F c) {
    return Map([&](int i) { return __builtin_fmaf(a.v[i], b.v[i], c.v[i]); });
  }
  // a > b ? a : b, hence b when either is NaN.
  static F Max(F a, F b) {
    return Map([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
  }
  // a < b ? a : b, hence b when either is NaN.
  static F Min(F a, F b) {
    return Map([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
  }

  // True in lanes [0, n), 0 <= n <= 16.
  static M FirstN(int n) { return (uint32_t{1} << n) - 1; }
  // a < b; false when either is NaN.
  static M Less(F a, F b) {
    M m = 0;
    for (int i = 0; i < kLanes; ++i) m |= static_cast<M>(a.v[i] < b.v[i]) << i;
    return m;
  }
  static F Select(M m, F yes, F no) {
    return Map([&](int i) { return m >> i & 1 ? yes.v[i] : no.v[i]; });
  }
  // Bit i: lane i.
  static uint32_t Bits(M m) { return m; }

  // 16 bf16 and back: nearest even, every NaN becomes kBf16NaN.
  static F LoadBf16(const uint16_t* p) {
    return Map([&](int i) { return Bf16ToF32(p[i]); });
  }
  static F LoadBf16N(const uint16_t* p, int n) {
    return Map([&](int i) { return i < n ? Bf16ToF32(p[i]) : 0.0f; });
  }
  static void StoreBf16(uint16_t* p, F a) { StoreBf16N(p, a, kLanes); }
  static void StoreBf16N(uint16_t* p, F a, int n) {
    for (int i = 0; i < n; ++i) p[i] = F32ToBf16(a.v[i]);
  }
  // 32 values as 16 pairs: even[i] = p[2i], odd[i] = p[2i + 1].
  static void LoadPairs(const uint16_t* p, F* even, F* odd) {
    *even = Map([&](int i) { return Bf16ToF32(p[int64_t{2} * i]); });
    *odd = Map([&](int i) { return Bf16ToF32(p[2 * i + 1]); });
  }
  // The f32 form of such a cell is [2][16].
  static void LoadPairs(const float* p, F* even, F* odd) {
    *even = Load(p);
    *odd = Load(p + kLanes);
  }

  // Sums lanes i and i + 8, then i + 4, i + 2, i + 1.
  static float ReduceAdd(F a) {
    for (int half = 8; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) a.v[i] = a.v[i] + a.v[i + half];
    }
    return a.v[0];
  }
  // The same tree of Max(lane i, lane i + half).
  static float ReduceMax(F a) {
    for (int half = 8; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) a.v[i] = a.v[i] > a.v[i + half] ? a.v[i] : a.v[i + half];
    }
    return a.v[0];
  }

  // 2^(n - 1) for an integer -125 <= n <= 128 given as the float 1.5 * 2^23 + n.
  static F Exp2Half(F shifted) {
    return Map([&](int i) {
      return std::bit_cast<float>((std::bit_cast<uint32_t>(shifted.v[i]) << 23) + (126u << 23));
    });
  }

  using V = F;
  static constexpr int kWidth = 16;
  // The linear tile: most rows, native vectors at so many rows, chains that the registers hold.
  static constexpr int kTileRows = 1;
  static constexpr int TileVectors(int) { return 1; }
  static constexpr int kJointChains = 2;
  static V VZero() { return Zero(); }
  static V VLoad(const float* p) { return Load(p); }
  static void VStore(float* p, V a) { Store(p, a); }
  static V VSet1(float x) { return Set1(x); }
  static V VAdd(V a, V b) { return Add(a, b); }
  static V VFma(V a, V b, V c) { return Fma(a, b, c); }
  // kWidth lanes from lane `lane` on of a cell of 16 pairs: the even or the odd elements.
  static V VEven(const uint16_t* cell, int lane) {
    return Map([&](int i) { return Bf16ToF32(cell[int64_t{2} * (lane + i)]); });
  }
  static V VOdd(const uint16_t* cell, int lane) {
    return Map([&](int i) { return Bf16ToF32(cell[2 * (lane + i) + 1]); });
  }
  static V VEven(const float* cell, int lane) { return Load(cell + lane); }
  static V VOdd(const float* cell, int lane) { return Load(cell + kLanes + lane); }
};

}  // namespace pagoda::cpu
