// SimdAvx2: simd_scalar.h says what each operation means. Include only from files compiled for AVX2
// and FMA.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/dtype.h"

namespace pagoda::cpu {

struct SimdAvx2 {
  static constexpr int kLanes = 16;

  struct F {
    __m256 lo, hi;  // lanes 0-7, 8-15
  };
  struct M {
    __m256 lo, hi;  // all bits of a lane set, or none
  };

  static F Zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static F Set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static F Load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static void Store(float* p, F a) {
    _mm256_storeu_ps(p, a.lo);
    _mm256_storeu_ps(p + 8, a.hi);
  }
  static F LoadN(const float* p, int n) {
    const M m = FirstN(n);
    return {_mm256_maskload_ps(p, _mm256_castps_si256(m.lo)),
            _mm256_maskload_ps(p + 8, _mm256_castps_si256(m.hi))};
  }
  static void StoreN(float* p, F a, int n) {
    const M m = FirstN(n);
    _mm256_maskstore_ps(p, _mm256_castps_si256(m.lo), a.lo);
    _mm256_maskstore_ps(p + 8, _mm256_castps_si256(m.hi), a.hi);
  }

  static F Add(F a, F b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
  static F Sub(F a, F b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
  static F Mul(F a, F b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
  static F Div(F a, F b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
  static F Fma(F a, F b, F c) {
    return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
  }
  static F Max(F a, F b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
  static F Min(F a, F b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }

  static M FirstN(int n) {
    const __m256i count = _mm256_set1_epi32(n);
    const __m256i low = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i high = _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15);
    return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(count, low)),
            _mm256_castsi256_ps(_mm256_cmpgt_epi32(count, high))};
  }
  static M Less(F a, F b) {
    return {_mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ)};
  }
  static F Select(M m, F yes, F no) {
    return {_mm256_blendv_ps(no.lo, yes.lo, m.lo), _mm256_blendv_ps(no.hi, yes.hi, m.hi)};
  }
  static uint32_t Bits(M m) {
    return static_cast<uint32_t>(_mm256_movemask_ps(m.lo)) |
           static_cast<uint32_t>(_mm256_movemask_ps(m.hi)) << 8;
  }

  static F LoadBf16(const uint16_t* p) { return {Widen(p), Widen(p + 8)}; }
  static F LoadBf16N(const uint16_t* p, int n) {
    alignas(32) uint16_t copy[kLanes] = {};
    for (int i = 0; i < n; ++i) copy[i] = p[i];
    return LoadBf16(copy);
  }
  static void StoreBf16(uint16_t* p, F a) {
    // packus works within 128-bit halves; the permutation puts its quarters in order.
    const __m256i packed = _mm256_packus_epi32(Round(a.lo), Round(a.hi));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(packed, 0xd8));
  }
  static void StoreBf16N(uint16_t* p, F a, int n) {
    alignas(32) uint16_t copy[kLanes];
    StoreBf16(copy, a);
    for (int i = 0; i < n; ++i) p[i] = copy[i];
  }
  static void LoadPairs(const uint16_t* p, F* even, F* odd) {
    *even = {VEven(p, 0), VEven(p, 8)};
    *odd = {VOdd(p, 0), VOdd(p, 8)};
  }
  static void LoadPairs(const float* p, F* even, F* odd) {
    *even = Load(p);
    *odd = Load(p + kLanes);
  }

  static float ReduceAdd(F a) {
    const __m256 eight = _mm256_add_ps(a.lo, a.hi);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  static float ReduceMax(F a) {
    const __m256 eight = _mm256_max_ps(a.lo, a.hi);
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }

  static F Exp2Half(F shifted) { return {Exp2HalfV(shifted.lo), Exp2HalfV(shifted.hi)}; }

  using V = __m256;
  static constexpr int kWidth = 8;
  static constexpr int kTileRows = 6;
  static constexpr int TileVectors(int rows) { return rows <= 2 ? 4 : 2; }
  static constexpr int kJointChains = 8;
  static V VZero() { return _mm256_setzero_ps(); }
  static V VLoad(const float* p) { return _mm256_loadu_ps(p); }
  static void VStore(float* p, V a) { _mm256_storeu_ps(p, a); }
  static V VSet1(float x) { return _mm256_set1_ps(x); }
  static V VAdd(V a, V b) { return _mm256_add_ps(a, b); }
  static V VFma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
  static V VEven(const uint16_t* cell, int lane) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(Cell(cell, lane), 16));
  }
  static V VOdd(const uint16_t* cell, int lane) {
    const __m256i high = _mm256_set1_epi32(static_cast<int>(0xffff0000));
    return _mm256_castsi256_ps(_mm256_and_si256(Cell(cell, lane), high));
  }
  static V VEven(const float* cell, int lane) { return VLoad(cell + lane); }
  static V VOdd(const float* cell, int lane) { return VLoad(cell + kLanes + lane); }

 private:
  static __m256i Cell(const uint16_t* cell, int lane) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(cell + int64_t{2} * lane));
  }
  static __m256 Widen(const uint16_t* p) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
  // bf16 bits in the low half of each 32-bit lane.
  static __m256i Round(__m256 a) {
    const __m256i bits = _mm256_castps_si256(a);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
    return _mm256_blendv_epi8(_mm256_srli_epi32(sum, 16), _mm256_set1_epi32(kBf16NaN), nan);
  }
  static __m256 Exp2HalfV(__m256 shifted) {
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_slli_epi32(_mm256_castps_si256(shifted), 23),
                                                _mm256_set1_epi32(126 << 23)));
  }
};

}  // namespace pagoda::cpu
