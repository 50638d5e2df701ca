// SimdAvx512: simd_scalar.h says what each operation means. Include only from files compiled for
// AVX-512 F, BW, DQ and VL.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/dtype.h"

namespace pagoda::cpu {

struct SimdAvx512 {
  static constexpr int kLanes = 16;

  using F = __m512;
  using M = __mmask16;

  static F Zero() { return _mm512_setzero_ps(); }
  static F Set1(float x) { return _mm512_set1_ps(x); }
  static F Load(const float* p) { return _mm512_loadu_ps(p); }
  static void Store(float* p, F a) { _mm512_storeu_ps(p, a); }
  static F LoadN(const float* p, int n) { return _mm512_maskz_loadu_ps(FirstN(n), p); }
  static void StoreN(float* p, F a, int n) { _mm512_mask_storeu_ps(p, FirstN(n), a); }

  static F Add(F a, F b) { return _mm512_add_ps(a, b); }
  static F Sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static F Mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F Div(F a, F b) { return _mm512_div_ps(a, b); }
  static F Fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F Max(F a, F b) { return _mm512_max_ps(a, b); }
  static F Min(F a, F b) { return _mm512_min_ps(a, b); }

  static M FirstN(int n) { return static_cast<M>((uint32_t{1} << n) - 1); }
  static M Less(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
  static F Select(M m, F yes, F no) { return _mm512_mask_blend_ps(m, no, yes); }
  static uint32_t Bits(M m) { return m; }

  static F LoadBf16(const uint16_t* p) {
    return Widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static F LoadBf16N(const uint16_t* p, int n) {
    return Widen(_mm256_maskz_loadu_epi16(FirstN(n), p));
  }
  static void StoreBf16(uint16_t* p, F a) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), Round(a));
  }
  static void StoreBf16N(uint16_t* p, F a, int n) {
    _mm256_mask_storeu_epi16(p, FirstN(n), Round(a));
  }
  static void LoadPairs(const uint16_t* p, F* even, F* odd) {
    *even = VEven(p, 0);
    *odd = VOdd(p, 0);
  }
  static void LoadPairs(const float* p, F* even, F* odd) {
    *even = Load(p);
    *odd = Load(p + kLanes);
  }

  static float ReduceAdd(F a) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  static float ReduceMax(F a) {
    const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }

  static F Exp2Half(F shifted) {
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_slli_epi32(_mm512_castps_si512(shifted), 23),
                                                _mm512_set1_epi32(126 << 23)));
  }

  using V = F;
  static constexpr int kWidth = 16;
  static constexpr int kTileRows = 8;
  static constexpr int TileVectors(int) { return 2; }
  static constexpr int kJointChains = 16;
  static V VZero() { return Zero(); }
  static V VLoad(const float* p) { return Load(p); }
  static void VStore(float* p, V a) { Store(p, a); }
  static V VSet1(float x) { return Set1(x); }
  static V VAdd(V a, V b) { return Add(a, b); }
  static V VFma(V a, V b, V c) { return Fma(a, b, c); }
  static V VEven(const uint16_t* cell, int lane) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(cell + int64_t{2} * lane), 16));
  }
  static V VOdd(const uint16_t* cell, int lane) {
    const __m512i high = _mm512_set1_epi32(static_cast<int>(0xffff0000));
    return _mm512_castsi512_ps(
        _mm512_and_si512(_mm512_loadu_si512(cell + int64_t{2} * lane), high));
  }
  static V VEven(const float* cell, int lane) { return Load(cell + lane); }
  static V VOdd(const float* cell, int lane) { return Load(cell + kLanes + lane); }

 private:
  static F Widen(__m256i bits) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  }
  static __m256i Round(F a) {
    const __m512i bits = _mm512_castps_si512(a);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i sum = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    const __mmask16 nan = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
    const __m512i rounded =
        _mm512_mask_blend_epi32(nan, _mm512_srli_epi32(sum, 16), _mm512_set1_epi32(kBf16NaN));
    return _mm512_cvtepi32_epi16(rounded);
  }
};

}  // namespace pagoda::cpu
