#include "bench/kernels/limits_impl.h"
#include "kernels/cpu/simd_avx512.h"

namespace pagoda::bench {

const LimitKernels kLimitsAvx512 = LimitsOf<cpu::SimdAvx512>::kKernels;

}  // namespace pagoda::bench
