// The numeric contract's attention, element by element: what every kernel must match to the bit.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu/exp.h"
#include "kernels/cpu/simd_scalar.h"
#include "tests/kernels/attention_harness.h"

namespace pagoda::cpu {
namespace {

float ExpScalar(float x) { return Exp<SimdScalar>(SimdScalar::Set1(x)).v[0]; }

// A dot product of a and b by even and odd chains per 32 elements; unseen elements are null.
template <class A, class B>
float Dot(int first, int last, A a, B b) {
  float acc = 0;
  for (int k0 = first & ~31; k0 < last; k0 += 32) {
    float chain[2] = {0, 0};
    for (int k = std::max(first, k0); k < std::min(last, k0 + 32); ++k) {
      chain[k % 2] = std::fma(a(k), b(k), chain[k % 2]);
    }
    acc = acc + (chain[0] + chain[1]);
  }
  return acc;
}

// The sum of p by 16 lanes and the lane tree; p[0] belongs to lane `first` mod 16.
float LaneSum(const std::vector<float>& p, int first) {
  float lanes[16] = {};
  for (size_t i = 0; i < p.size(); ++i) lanes[(first + i) % 16] += p[i];
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

}  // namespace

std::vector<float> AttentionFixture::Contract() const {
  std::vector<float> out(q_.size());
  const int group = c_.num_heads / c_.num_kv_heads;
  for (int r = 0; r < rows_; ++r) {
    for (int h = 0; h < c_.num_heads; ++h) {
      const size_t at = (size_t(r) * c_.num_heads + h) * c_.head_dim;
      ContractRow(row_[r], &q_[at], h / group, &out[at]);
    }
  }
  return out;
}

void AttentionFixture::ContractRow(const Row& row, const float* q, int kv_head, float* out) const {
  const int dim = c_.head_dim;
  const float scale = 1 / std::sqrt(static_cast<float>(dim));
  const int first = FirstSeen(row);
  float max = 0, sum = 0;
  for (int chunk = first & ~255; chunk <= row.position; chunk += 256) {
    const int from = std::max(chunk, first);
    const int to = std::min(chunk + 256, row.position + 1);
    std::vector<float> p(to - from);
    for (int i = from; i < to; ++i) {
      const float* k = K(row.sequence, i, kv_head);
      p[i - from] = scale * Dot(
                                0,
                                dim,
                                [&](int d) { return q[d]; },
                                [&](int d) { return k[d]; });
    }
    const float m = *std::max_element(p.begin(), p.end());
    for (float& x : p) x = RoundTo(c_.dtype, ExpScalar(x - m));
    const float l = LaneSum(p, from);
    const bool start = chunk == (first & ~255);
    const float new_max = start ? m : std::max(max, m);
    const float a = ExpScalar(max - new_max);
    const float b = ExpScalar(m - new_max);
    sum = start ? l : std::fma(sum, a, l * b);
    for (int d = 0; d < dim; ++d) {
      const float o = Dot(
          from,
          to,
          [&](int i) { return p[i - from]; },
          [&](int i) { return V(row.sequence, i, kv_head)[d]; });
      out[d] = start ? o : std::fma(out[d], a, o * b);
    }
    max = new_max;
  }
  for (int d = 0; d < dim; ++d) out[d] = RoundTo(c_.dtype, out[d] / sum);
}

}  // namespace pagoda::cpu
