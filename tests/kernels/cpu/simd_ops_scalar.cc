#include "kernels/cpu/simd_scalar.h"
#include "tests/kernels/cpu/simd_ops_impl.h"

namespace pagoda::cpu {

const SimdOps kSimdOpsScalar = SimdOpsOf<SimdScalar>::kOps;

}  // namespace pagoda::cpu
