#include "kernels/cpu/row_ops_impl.h"
#include "kernels/cpu/simd_avx512.h"

namespace pagoda::cpu {

void AddNormAvx512(const AddNormArgs& args) { AddNorm<SimdAvx512>(args); }
void RopeAvx512(const RopeArgs& args) { Rope<SimdAvx512>(args); }

}  // namespace pagoda::cpu
