// The limits over a vector type; included by exactly the files limits_<isa>.cc.
#pragma once

#include "bench/kernels/limits.h"

namespace pagoda::bench {

template <class S>
struct LimitsOf {
  using V = typename S::V;
  static constexpr int kChains = 12;  // hides the latency of two FMA units

  static double Fma(int64_t rounds) {
    V chain[kChains];
    for (V& v : chain) v = S::VSet1(1.0f);
    const V factor = S::VSet1(0.999f);
    for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
      for (int c = 0; c < kChains; ++c) chain[c] = S::VFma(chain[c], factor, factor);
    }
    float sink[S::kWidth];
    V sum = chain[0];
    for (int c = 1; c < kChains; ++c) sum = S::VAdd(sum, chain[c]);
    S::VStore(sink, sum);
    return sink[0] == 0 ? 0 : 2.0 * kChains * S::kWidth * static_cast<double>(rounds);
  }

  static float Read(const std::byte* data, size_t bytes) {
    const float* p = reinterpret_cast<const float*>(data);
    V sum[8];
    for (V& v : sum) v = S::VZero();
    for (size_t i = 0; i < bytes / sizeof(float); i += 8 * S::kWidth) {
#pragma GCC unroll 8
      for (int j = 0; j < 8; ++j) sum[j] = S::VAdd(sum[j], S::VLoad(p + i + j * S::kWidth));
    }
    float sink[S::kWidth];
    for (int j = 1; j < 8; ++j) sum[0] = S::VAdd(sum[0], sum[j]);
    S::VStore(sink, sum[0]);
    return sink[0];
  }

  static constexpr LimitKernels kKernels = {Fma, Read};
};

}  // namespace pagoda::bench
