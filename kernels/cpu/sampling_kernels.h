// The parts of sampling that depend on the instruction set: passes over a row of logits. All sets
// compute the same bits (kernels/NUMERICS.md, "Sampling").
#pragma once

#include <cstdint>

namespace pagoda::cpu {

// Rows of scratch are padded to a multiple of this many floats.
inline constexpr int kSampleBlock = 64;

[[gnu::always_inline]] constexpr int PaddedVocab(int vocab) {
  return (vocab + kSampleBlock - 1) / kSampleBlock * kSampleBlock;
}

// What a random number is for; part of the counter and so of the wire format.
enum class RandomPurpose : uint32_t { kDraw = 0 };

// Philox key and counter without its last word, which is the vocabulary index / 4.
struct DrawKey {
  uint32_t key[2];
  uint32_t counter[3];
};

struct SamplingKernels {
  // The first index of the maximum of x[0, n). -1 when x holds a NaN or +infinity, or nothing above
  // -infinity.
  int (*argmax)(const float* x, int n);

  // The sum of exp(x[i] - max) over [0, n).
  double (*sum_exp)(const float* x, int n, float max);

  // out[i] = (x[i] - max) / temperature; out is filled to PaddedVocab(n) with -infinity.
  void (*scale)(const float* x, int n, float max, float temperature, float* out);

  // out[i] = exp(x[i]). `n` is padded.
  void (*exp)(const float* x, int n, float* out);

  // The first index of the maximum of x[i] + Gumbel noise of index i. `n` is padded; entries at
  // -infinity are never chosen. REQUIRES: x <= 0.
  int (*gumbel_argmax)(const float* x, int n, const DrawKey& key);

  // The noise alone, for vocabulary indices [0, n); `n` is padded.
  void (*gumbel)(int n, const DrawKey& key, float* out);
};

extern const SamplingKernels kSamplingScalar;
extern const SamplingKernels kSamplingAvx2;
extern const SamplingKernels kSamplingAvx512;

}  // namespace pagoda::cpu
