#include "kernels/cpu/sampling_select.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>

namespace pagoda::cpu {
namespace {

// Of a float <= 0 the bits without the sign order it from 0 down to -infinity.
constexpr uint32_t kRemoved = 0x7f800000;

uint32_t KeyOf(float x) { return std::bit_cast<uint32_t>(x) & 0x7fffffff; }

uint64_t UnitsOf(float weight) { return static_cast<uint64_t>(weight * 0x1p40f); }

// The prefix ends within the candidates of this key.
struct Cut {
  uint32_t key = kRemoved;
  uint64_t before = 0;  // measure of the candidates with smaller keys
};

// Where the running sum of measure(i) over the candidates, in order, reaches `target`. Key kRemoved
// when it never does.
template <class Measure>
Cut FindCut(const float* x, int n, uint64_t target, const Measure& measure) {
  constexpr int kDigits[] = {11, 11, 9};  // of the key's 31 bits, highest first
  uint64_t histogram[1 << 11];
  Cut cut = {0, 0};
  int shift = 31;
  for (const int bits : kDigits) {
    const uint32_t prefix = cut.key;
    const int above = shift;
    shift -= bits;
    const uint32_t mask = (1u << bits) - 1;
    std::fill_n(histogram, mask + 1, 0);
    for (int i = 0; i < n; ++i) {
      const uint32_t key = KeyOf(x[i]);
      if (key >= kRemoved || uint64_t{key} >> above != prefix) continue;
      histogram[key >> shift & mask] += measure(i);
    }
    uint32_t digit = 0;
    while (digit <= mask && cut.before + histogram[digit] < target)
      cut.before += histogram[digit++];
    if (digit > mask) return {};
    cut.key = prefix << bits | digit;
  }
  return cut;
}

// Removes what follows `ties` candidates of the cut's key.
void Apply(const Cut& cut, uint64_t ties, float* x, int n) {
  for (int i = 0; i < n; ++i) {
    const uint32_t key = KeyOf(x[i]);
    const bool keep = key < cut.key || (key == cut.key && ties > 0);
    ties -= key == cut.key && ties > 0;
    x[i] = keep ? x[i] : -std::numeric_limits<float>::infinity();
  }
}

}  // namespace

void KeepTopK(float* x, int n, int k) {
  const Cut cut = FindCut(x, n, k, [](int) { return uint64_t{1}; });
  if (cut.key != kRemoved) Apply(cut, k - cut.before, x, n);
}

void KeepTopP(float* x, const float* w, int n, float top_p) {
  uint64_t total = 0;
  for (int i = 0; i < n; ++i) total += KeyOf(x[i]) < kRemoved ? UnitsOf(w[i]) : 0;
  // ceil(top_p * total), exactly: top_p is a 24-bit integer times a power of two.
  const uint64_t share = static_cast<uint64_t>(static_cast<double>(top_p) * 0x1p32);
  const auto product = static_cast<unsigned __int128>(total) * share;
  const auto target = std::max<uint64_t>(1, static_cast<uint64_t>((product + 0xffffffff) >> 32));
  const Cut cut = FindCut(x, n, target, [&](int i) { return UnitsOf(w[i]); });
  if (cut.key == kRemoved) return;
  uint64_t each = 1;
  for (int i = 0; i < n; ++i) {
    if (KeyOf(x[i]) == cut.key) each = UnitsOf(w[i]);
  }
  Apply(cut, (target - cut.before + each - 1) / each, x, n);
}

}  // namespace pagoda::cpu
