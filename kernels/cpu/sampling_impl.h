// The sampling passes, written once over an instruction set S (kernels/cpu/simd_*.h); each ISA's
// file instantiates them. Integers are in plain loops over 16 lanes: they are exact however they
// compile.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/cpu/exp.h"
#include "kernels/cpu/sampling_kernels.h"

namespace pagoda::cpu {

template <class S>
struct Sampling {
  using F = typename S::F;
  static constexpr int kLanes = S::kLanes;
  static constexpr int kSumBlock = 1024;  // a multiple of kLanes
  static constexpr float kInfinity = __builtin_inff();

  // Lanes [0, n) of x, -infinity in the others.
  static F LoadTail(const float* x, int n) {
    if (n >= kLanes) return S::Load(x);
    return S::Select(S::FirstN(n), S::LoadN(x, n), S::Set1(-kInfinity));
  }

  static int Argmax(const float* x, int n) {
    const F lowest = S::Set1(-0x1.fffffep127f);
    F bad = S::Zero();
    float best = -kInfinity;
    int best_block = -1;
    for (int block = 0; block < n; block += kSumBlock) {
      const int end = block + kSumBlock < n ? block + kSumBlock : n;
      F max = S::Set1(-kInfinity);
      for (int i = block; i < end; i += kLanes) {
        const F value = LoadTail(x + i, end - i);
        max = S::Max(max, value);
        // Max's second operand wins over a NaN; times 0, NaN and infinity become NaN.
        bad = S::Add(bad, S::Mul(S::Max(lowest, value), S::Zero()));
      }
      const float block_max = S::ReduceMax(max);
      if (block_max > best) {
        best = block_max;
        best_block = block;
      }
    }
    if (best_block < 0 || S::ReduceAdd(bad) != 0) return -1;
    int index = best_block;
    while (x[index] != best) ++index;
    return index;
  }

  static double SumExp(const float* x, int n, float max) {
    const F shift = S::Set1(max);
    double total = 0;
    for (int block = 0; block < n; block += kSumBlock) {
      const int end = block + kSumBlock < n ? block + kSumBlock : n;
      F sum = S::Zero();
      for (int i = block; i < end; i += kLanes) {
        sum = S::Add(sum, Exp<S>(S::Sub(LoadTail(x + i, end - i), shift)));
      }
      total += static_cast<double>(S::ReduceAdd(sum));
    }
    return total;
  }

  static void Scale(const float* x, int n, float max, float temperature, float* out) {
    const F shift = S::Set1(max);
    const F divisor = S::Set1(temperature);
    int i = 0;
    for (; i < n; i += kLanes) {
      S::Store(out + i, S::Div(S::Sub(LoadTail(x + i, n - i), shift), divisor));
    }
    for (; i < PaddedVocab(n); i += kLanes) S::Store(out + i, S::Set1(-kInfinity));
  }

  static void ExpAll(const float* x, int n, float* out) {
    for (int i = 0; i < n; i += kLanes) S::Store(out + i, Exp<S>(S::Load(x + i)));
  }

  // Natural logarithm of positive normal numbers: x = 2^e (1 + f), 1 + f in [sqrt(1/2), sqrt(2)).
  static F Log(F x) {
    alignas(64) float fraction[kLanes], exponent[kLanes];
    S::Store(fraction, x);
    for (int i = 0; i < kLanes; ++i) {
      const uint32_t bits = std::bit_cast<uint32_t>(fraction[i]);
      const int32_t e = static_cast<int32_t>(bits - 0x3f3504f3) >> 23;
      fraction[i] = std::bit_cast<float>(bits - (static_cast<uint32_t>(e) << 23));
      exponent[i] = static_cast<float>(e);
    }
    const F e = S::Load(exponent);
    const F f = S::Sub(S::Load(fraction), S::Set1(1));
    F p = S::Set1(0x1.1d8ea6p-4f);
    p = S::Fma(p, f, S::Set1(-0x1.d635bcp-4f));
    p = S::Fma(p, f, S::Set1(0x1.dea282p-4f));
    p = S::Fma(p, f, S::Set1(-0x1.fcf4c6p-4f));
    p = S::Fma(p, f, S::Set1(0x1.23d21ap-3f));
    p = S::Fma(p, f, S::Set1(-0x1.555b4ap-3f));
    p = S::Fma(p, f, S::Set1(0x1.999d5ap-3f));
    p = S::Fma(p, f, S::Set1(-0x1.fffffcp-3f));
    p = S::Fma(p, f, S::Set1(0x1.555554p-2f));
    const F square = S::Mul(f, f);
    F tail = S::Mul(S::Mul(square, f), p);
    tail = S::Fma(e, S::Set1(0x1.7f7d1cp-20f), tail);
    tail = S::Fma(square, S::Set1(-0.5f), tail);
    return S::Fma(e, S::Set1(0x1.62e4p-1f), S::Add(f, tail));
  }

  // -log(-log(1 - v)), v = (bits + 1/2) / 2^32. Small v, where 1 - v would round v away, gives the
  // large noise that lets unlikely tokens win: hence v and not 1 - v is the uniform number.
  static F Gumbel(const uint32_t* bits) {
    alignas(64) float value[kLanes];
    for (int i = 0; i < kLanes; ++i) value[i] = static_cast<float>(bits[i]);
    const F one = S::Set1(1);
    F v = S::Fma(S::Load(value), S::Set1(0x1p-32f), S::Set1(0x1p-33f));
    v = S::Min(v, S::Set1(0x1.fffffep-1f));
    const F u = S::Sub(one, v);
    const F lost = S::Sub(S::Sub(one, u), v);  // 1 - v = u + lost
    const F exponential = S::Sub(S::Zero(), S::Add(Log(u), S::Div(lost, u)));
    return S::Sub(S::Zero(), Log(exponential));
  }

  // Random words of the vocabulary indices [first, first + 64), Philox4x32-10 in 16 lanes.
  static void Words(const DrawKey& key, int first, uint32_t* out) {
    uint32_t c0[kLanes], c1[kLanes], c2[kLanes], c3[kLanes];
    for (int i = 0; i < kLanes; ++i) {
      c0[i] = key.counter[0];
      c1[i] = key.counter[1];
      c2[i] = key.counter[2];
      c3[i] = static_cast<uint32_t>(first / 4 + i);
    }
    uint32_t k0 = key.key[0], k1 = key.key[1];
    for (int round = 0; round < 10; ++round) {
      for (int i = 0; i < kLanes; ++i) {
        const uint64_t p0 = uint64_t{0xD2511F53} * c0[i];
        const uint64_t p1 = uint64_t{0xCD9E8D57} * c2[i];
        c0[i] = static_cast<uint32_t>(p1 >> 32) ^ c1[i] ^ k0;
        c1[i] = static_cast<uint32_t>(p1);
        c2[i] = static_cast<uint32_t>(p0 >> 32) ^ c3[i] ^ k1;
        c3[i] = static_cast<uint32_t>(p0);
      }
      k0 += 0x9E3779B9;
      k1 += 0xBB67AE85;
    }
    for (int64_t i = 0; i < kLanes; ++i) {
      out[4 * i] = c0[i];
      out[4 * i + 1] = c1[i];
      out[4 * i + 2] = c2[i];
      out[4 * i + 3] = c3[i];
    }
  }

  static int GumbelArgmax(const float* x, int n, const DrawKey& key) {
    constexpr float kMostNoise = 23;  // Gumbel(0) is 22.9
    float best = -kInfinity;
    int index = -1;
    for (int block = 0; block < n; block += kSampleBlock) {
      F max = S::Load(x + block);
      for (int i = kLanes; i < kSampleBlock; i += kLanes) max = S::Max(max, S::Load(x + block + i));
      if (!(S::ReduceMax(max) + kMostNoise > best)) continue;
      alignas(64) uint32_t words[kSampleBlock];
      Words(key, block, words);
      for (int i = 0; i < kSampleBlock; i += kLanes) {
        const F score = S::Add(S::Load(x + block + i), Gumbel(words + i));
        const float score_max = S::ReduceMax(score);
        if (!(score_max > best)) continue;
        best = score_max;
        alignas(64) float scores[kLanes];
        S::Store(scores, score);
        index = block + i;
        while (scores[index - block - i] != best) ++index;
      }
    }
    return index;
  }

  static void GumbelAll(int n, const DrawKey& key, float* out) {
    for (int block = 0; block < n; block += kSampleBlock) {
      alignas(64) uint32_t words[kSampleBlock];
      Words(key, block, words);
      for (int i = 0; i < kSampleBlock; i += kLanes) S::Store(out + block + i, Gumbel(words + i));
    }
  }

  static constexpr SamplingKernels kKernels =
      {Argmax, SumExp, Scale, ExpAll, GumbelArgmax, GumbelAll};
};

}  // namespace pagoda::cpu
