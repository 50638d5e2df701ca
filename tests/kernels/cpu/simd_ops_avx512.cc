#include "kernels/cpu/simd_avx512.h"
#include "tests/kernels/cpu/simd_ops_impl.h"

namespace pagoda::cpu {

const SimdOps kSimdOpsAvx512 = SimdOpsOf<SimdAvx512>::kOps;

}  // namespace pagoda::cpu
