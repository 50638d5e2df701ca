#include "kernels/cpu/sampling.h"

#include <algorithm>
#include <bit>
#include <cstddef>

#include "common/check.h"
#include "kernels/cpu/sampling_select.h"

namespace pagoda::cpu {
namespace {

constexpr float kInfinity = __builtin_inff();

// Natural logarithm of a normal number >= 1, by the series of atanh: relative error below 1e-15.
// Our own because libm's differs from machine to machine.
double Log(double x) {
  const uint64_t bits = std::bit_cast<uint64_t>(x);
  int exponent = static_cast<int>(bits >> 52) - 1023;
  double mantissa = std::bit_cast<double>((bits & 0xfffffffffffff) | uint64_t{1023} << 52);
  if (mantissa > 1.4142135623730951) {
    mantissa /= 2;
    ++exponent;
  }
  const double z = (mantissa - 1) / (mantissa + 1);
  const double square = z * z;
  double series = 0;
  for (int n = 23; n >= 1; n -= 2) series = series * square + 1.0 / n;
  return exponent * 0x1.62e42fefa39efp-1 + 2 * z * series;
}

// The k largest logits, largest first, ties to the lower id.
int Top(const float* logits, int vocab, int k, TokenLogprob* top) {
  if (k == 0) return 0;
  int count = 0;
  for (int id = 0; id < vocab; ++id) {
    const float logit = logits[id];
    if (count == k && !(logit > top[k - 1].logprob)) continue;
    int at = count < k ? count++ : k - 1;
    for (; at > 0 && logit > top[at - 1].logprob; --at) top[at] = top[at - 1];
    top[at] = {id, logit};
  }
  return count;
}

}  // namespace

SampleScratch::SampleScratch(int vocab)
    : vocab_(vocab),
      edited_(vocab),
      scaled_(PaddedVocab(vocab)),
      weights_(PaddedVocab(vocab)),
      counts_(vocab) {
  list_.reserve(vocab);
}

class RowSampler {
 public:
  RowSampler(const SamplingKernels& kernels, const SampleRow& row, SampleScratch* scratch)
      : kernels_(kernels),
        row_(row),
        params_(row.params),
        vocab_(scratch->vocab_),
        padded_(PaddedVocab(vocab_)),
        s_(*scratch) {}

  // The id drawn from `logits`, or kUnusableLogits.
  int32_t Draw(const float* logits) {
    if (HasEdits()) logits = Edit(logits);
    const int best = kernels_.argmax(logits, vocab_);
    if (best < 0) return kUnusableLogits;
    if (params_.temperature < kGreedyBelow || params_.top_k == 1) return best;
    float* x = s_.scaled_.data();
    kernels_.scale(logits, vocab_, logits[best], params_.temperature, x);
    Filter(x);
    const DrawKey key = {
        {static_cast<uint32_t>(params_.seed), static_cast<uint32_t>(params_.seed >> 32)},
        {static_cast<uint32_t>(row_.position),
         static_cast<uint32_t>(row_.sequence_index),
         static_cast<uint32_t>(RandomPurpose::kDraw)}};
    return kernels_.gumbel_argmax(x, padded_, key);
  }

 private:
  bool HasPenalties() const {
    return params_.repetition_penalty != 1 || params_.presence_penalty != 0 ||
           params_.frequency_penalty != 0;
  }
  bool HasEdits() const { return HasPenalties() || !row_.bias.empty() || !row_.banned.empty(); }

  const float* Edit(const float* logits) {
    float* edited = s_.edited_.data();
    std::copy(logits, logits + vocab_, edited);
    if (HasPenalties()) Penalise(edited);
    for (const LogitBias& b : row_.bias) edited[b.token] += b.bias;
    for (const int32_t id : row_.banned) edited[id] = -kInfinity;
    return edited;
  }

  void Penalise(float* logits) {
    constexpr int32_t kInPrompt = 1 << 30;
    for (const int32_t id : row_.prompt) s_.counts_[id] |= kInPrompt;
    for (const int32_t id : row_.output) ++s_.counts_[id];
    for (const auto& ids : {row_.prompt, row_.output}) {
      for (const int32_t id : ids) {
        const int32_t count = s_.counts_[id];
        if (count == 0) continue;  // seen earlier in these lists
        s_.counts_[id] = 0;
        float logit = logits[id];
        const float repetition = params_.repetition_penalty;
        if (repetition != 1) logit = logit > 0 ? logit / repetition : logit * repetition;
        const int32_t drawn = count & (kInPrompt - 1);
        if (drawn > 0) {
          logit -= params_.frequency_penalty * static_cast<float>(drawn);
          logit -= params_.presence_penalty;
        }
        logits[id] = logit;
      }
    }
  }

  // Sets what min-p, top-k and top-p remove to -infinity.
  void Filter(float* x) {
    const bool by_weight = params_.min_p > 0 || params_.top_p < 1;
    float* w = s_.weights_.data();
    if (by_weight) kernels_.exp(x, padded_, w);
    if (params_.min_p > 0) {
      for (int i = 0; i < vocab_; ++i) x[i] = w[i] < params_.min_p ? -kInfinity : x[i];
    }
    if (params_.top_k > 0 && params_.top_k < vocab_) KeepTopK(x, vocab_, params_.top_k, &s_.list_);
    if (params_.top_p < 1) KeepTopP(x, w, vocab_, params_.top_p, &s_.list_);
  }

  const SamplingKernels& kernels_;
  const SampleRow& row_;
  const SamplingParams& params_;
  const int vocab_;
  const int padded_;
  SampleScratch& s_;
};

SampledToken SampleToken(const SamplingKernels& kernels,
                         const float* logits,
                         const SampleRow& row,
                         SampleScratch* scratch,
                         TokenLogprob* top) {
  const int vocab = scratch->vocab();
  SampledToken token;
  token.token = RowSampler(kernels, row, scratch).Draw(logits);
  if (token.token == kUnusableLogits || row.params.logprobs < 0) return token;
  const int best = kernels.argmax(logits, vocab);
  if (best < 0) {
    token.token = kUnusableLogits;
    return token;
  }
  const double max = logits[best];
  const double log_sum = Log(kernels.sum_exp(logits, vocab, logits[best]));
  const auto logprob = [&](float logit) { return static_cast<float>(logit - max - log_sum); };
  token.logprob = logprob(logits[token.token]);
  token.top_count = Top(logits, vocab, std::min(row.params.logprobs, vocab), top);
  for (int i = 0; i < token.top_count; ++i) top[i].logprob = logprob(top[i].logprob);
  return token;
}

}  // namespace pagoda::cpu
