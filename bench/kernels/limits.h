// The machine's limits as one instruction set reaches them, for figures given as shares of them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/isa.h"

namespace pagoda::bench {

struct LimitKernels {
  // Runs `rounds` rounds of independent FMA chains in registers; returns the floating-point
  // operations done.
  double (*fma)(int64_t rounds);
  // Reads all of [data, data + bytes); bytes is a multiple of 1024. Returns something of it.
  float (*read)(const std::byte* data, size_t bytes);
};

extern const LimitKernels kLimitsScalar, kLimitsAvx2, kLimitsAvx512;

inline const LimitKernels& LimitsFor(cpu::Isa isa) {
  switch (isa) {
    case cpu::Isa::kScalar:
      return kLimitsScalar;
    case cpu::Isa::kAvx2:
      return kLimitsAvx2;
    case cpu::Isa::kAvx512:
      return kLimitsAvx512;
  }
  return kLimitsScalar;
}

}  // namespace pagoda::bench
