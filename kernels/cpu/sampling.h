// Draws one token from a row of logits: penalties, bias, bans, temperature, min-p, top-k, top-p,
// Gumbel-max, in this order, and log-probabilities of the raw logits. Nothing is sorted; which
// tokens survive and which one wins depend on no order of summation (kernels/NUMERICS.md,
// "Sampling").
//
// Threads: any number of rows at a time, each with a scratch of its own.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cpu/sampling_kernels.h"
#include "kernels/step.h"

namespace pagoda::cpu {

// Temperatures below this are argmax.
inline constexpr float kGreedyBelow = 1e-5f;

// SampledToken::token of a row that could not be drawn: its logits (or they and its edits) hold a
// NaN or +infinity, or nothing above -infinity.
inline constexpr int32_t kUnusableLogits = -1;

class SampleScratch {
 public:
  explicit SampleScratch(int vocab);

  int vocab() const { return vocab_; }

 private:
  friend class RowSampler;

  const int vocab_;
  std::vector<float> edited_;    // [vocab] logits after penalties, bias and bans
  std::vector<float> scaled_;    // [padded] (logit - max) / temperature; -infinity: removed
  std::vector<float> weights_;   // [padded] exp(scaled)
  std::vector<int32_t> counts_;  // [vocab] occurrences; all 0 between rows
  std::vector<int> list_;        // of the selections
};

// `logits` has scratch->vocab() entries and may be followed by padding, which is not read. Up to
// row.params.logprobs entries go to `top`; token.top_begin stays 0.
// REQUIRES: token ids of `row` in [0, vocab); denormals flushed on this thread.
SampledToken SampleToken(const SamplingKernels& kernels,
                         const float* logits,
                         const SampleRow& row,
                         SampleScratch* scratch,
                         TokenLogprob* top);

}  // namespace pagoda::cpu
