#include "kernels/cpu/simd_avx2.h"
#include "tests/kernels/cpu/simd_ops_impl.h"

namespace pagoda::cpu {

const SimdOps kSimdOpsAvx2 = SimdOpsOf<SimdAvx2>::kOps;

}  // namespace pagoda::cpu
