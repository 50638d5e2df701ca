#include "kernels/cpu/sampling_select.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

namespace pagoda::cpu {
namespace {

// Of a float <= 0 the bits without the sign order it from 0 down to -infinity.
constexpr uint32_t kRemoved = 0x7f800000;

uint32_t KeyOf(float x) { return std::bit_cast<uint32_t>(x) & 0x7fffffff; }

uint64_t UnitsOf(float weight) { return static_cast<uint64_t>(weight * 0x1p40f); }

// The prefix ends within the candidates of this key.
struct Cut {
  uint32_t key = kRemoved;
  uint64_t missing = 0;  // measure that candidates with smaller keys leave to this key
};

// One digit of a radix selection: sums of measures by digit, and the digit in which the running sum
// reaches a target.
class Histogram {
 public:
  explicit Histogram(int bits) : size_(1u << bits) {
    std::memset(bins_, 0, size_ * sizeof bins_[0]);
  }

  void Add(uint32_t digit, int i, uint64_t measure) { bins_[digit][i % kWays] += measure; }
  uint64_t Sum(uint32_t digit) const {
    return std::accumulate(bins_[digit], bins_[digit] + kWays, uint64_t{0});
  }
  // Takes the digits before the one found off `missing`. REQUIRES: the whole sum is >= *missing.
  uint32_t Find(uint64_t* missing) const {
    uint32_t digit = 0;
    for (; Sum(digit) < *missing; ++digit) *missing -= Sum(digit);
    return digit;
  }

 private:
  static constexpr int kWays = 4;  // neighbours often share a digit: no store waits for the last

  const uint32_t size_;
  uint64_t bins_[1 << 11][kWays];
};

// Where the running sum of measure(i) over the candidates, in order, reaches target(the whole sum).
// Key kRemoved when it never does. `list` is scratch.
template <class Measure, class Target>
Cut FindCut(const float* x,
            int n,
            const Measure& measure,
            const Target& target,
            std::vector<int>* list) {
  // 31 bits as 11, 11 and 9. A removed entry's first digit is the exponent of infinity, or above.
  constexpr uint32_t kRemovedDigit = kRemoved >> 20;
  Histogram first(11);
  for (int i = 0; i < n; ++i) first.Add(KeyOf(x[i]) >> 20, i, measure(i));
  uint64_t whole = 0;
  for (uint32_t digit = 0; digit < kRemovedDigit; ++digit) whole += first.Sum(digit);
  Cut cut = {0, target(whole)};
  if (whole < cut.missing) return {};
  cut.key = first.Find(&cut.missing);
  list->resize(n);
  size_t listed = 0;
  for (int i = 0; i < n; ++i) {
    (*list)[listed] = i;
    listed += KeyOf(x[i]) >> 20 == cut.key;
  }
  list->resize(listed);
  Histogram second(11);
  for (const int i : *list) second.Add(KeyOf(x[i]) >> 9 & 0x7ff, i, measure(i));
  cut.key = cut.key << 11 | second.Find(&cut.missing);
  Histogram third(9);
  for (const int i : *list) {
    if (KeyOf(x[i]) >> 9 == cut.key) third.Add(KeyOf(x[i]) & 0x1ff, i, measure(i));
  }
  cut.key = cut.key << 9 | third.Find(&cut.missing);
  return cut;
}

// Removes what follows `ties` candidates of the cut's key. Two passes, because whether an entry is
// kept is a coin toss to the branch predictor, and whether it is at the cut is not.
void Apply(const Cut& cut, uint64_t ties, float* x, int n) {
  constexpr float kGone = -std::numeric_limits<float>::infinity();
  for (int i = 0; i < n; ++i) x[i] = KeyOf(x[i]) <= cut.key ? x[i] : kGone;
  for (int i = 0; i < n; ++i) {
    if (KeyOf(x[i]) != cut.key) continue;
    if (ties == 0) {
      x[i] = kGone;
    } else {
      --ties;
    }
  }
}

}  // namespace

void KeepTopK(float* x, int n, int k, std::vector<int>* scratch) {
  const Cut cut = FindCut(
      x,
      n,
      [](int) { return uint64_t{1}; },
      [k](uint64_t) { return static_cast<uint64_t>(k); },
      scratch);
  if (cut.key != kRemoved) Apply(cut, cut.missing, x, n);
}

void KeepTopP(float* x, const float* w, int n, float top_p, std::vector<int>* scratch) {
  const auto share = static_cast<uint64_t>(static_cast<double>(top_p) * 0x1p32);
  const auto target = [share](uint64_t whole) {
    const auto product = static_cast<unsigned __int128>(whole) * share;
    return std::max<uint64_t>(1, static_cast<uint64_t>((product + 0xffffffff) >> 32));
  };
  const Cut cut = FindCut(
      x,
      n,
      [w](int i) { return UnitsOf(w[i]); },
      target,
      scratch);
  if (cut.key == kRemoved) return;
  int tied = 0;
  while (KeyOf(x[tied]) != cut.key) ++tied;
  const uint64_t each = UnitsOf(w[tied]);
  Apply(cut, (cut.missing + each - 1) / each, x, n);
}

}  // namespace pagoda::cpu
