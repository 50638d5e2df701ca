#include "common/random.h"

#include "common/check.h"
#include "common/philox.h"

namespace pagoda {

uint32_t Random::Next32() {
  if (used_ == 4) {
    block_ =
        Philox4x32({static_cast<uint32_t>(blocks_), static_cast<uint32_t>(blocks_ >> 32), 0, 0},
                   {static_cast<uint32_t>(seed_), static_cast<uint32_t>(seed_ >> 32)});
    ++blocks_;
    used_ = 0;
  }
  return block_[used_++];
}

uint64_t Random::Next64() {
  const uint64_t low = Next32();
  return low | (uint64_t{Next32()} << 32);
}

uint64_t Random::Below(uint64_t n) {
  CHECK_GT(n, 0u);
  // Draws below 2^64 mod n would make the small remainders one draw more likely.
  const uint64_t reject_below = (0 - n) % n;
  uint64_t draw = Next64();
  while (draw < reject_below) draw = Next64();
  return draw % n;
}

double Random::Uniform() { return static_cast<double>(Next64() >> 11) * 0x1p-53; }

bool Random::Bernoulli(double p) { return Uniform() < p; }

}  // namespace pagoda
