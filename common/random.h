// A seeded random source over Philox for tests, the simulator and jitter: the same seed gives the
// same numbers on every machine. Not for secrets. One thread at a time.
#pragma once

#include <array>
#include <cstdint>

namespace pagoda {

class Random {
 public:
  explicit Random(uint64_t seed) : seed_(seed) {}

  uint32_t Next32();
  uint64_t Next64();

  // Uniform in [0, n), without bias. REQUIRES: n > 0.
  uint64_t Below(uint64_t n);

  // Uniform in [0, 1) in steps of 2^-53.
  double Uniform();

  // True with probability p; never for p <= 0, always for p >= 1.
  bool Bernoulli(double p);

 private:
  uint64_t seed_;
  uint64_t blocks_ = 0;            // Philox calls made; the counter
  std::array<uint32_t, 4> block_;  // the last call's output
  int used_ = 4;                   // words of block_ already handed out
};

}  // namespace pagoda
