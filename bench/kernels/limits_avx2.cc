#include "bench/kernels/limits_impl.h"
#include "kernels/cpu/simd_avx2.h"

namespace pagoda::bench {

const LimitKernels kLimitsAvx2 = LimitsOf<cpu::SimdAvx2>::kKernels;

}  // namespace pagoda::bench
