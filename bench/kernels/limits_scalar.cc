#include "bench/kernels/limits_impl.h"
#include "kernels/cpu/simd_scalar.h"

namespace pagoda::bench {

const LimitKernels kLimitsScalar = LimitsOf<cpu::SimdScalar>::kKernels;

}  // namespace pagoda::bench
