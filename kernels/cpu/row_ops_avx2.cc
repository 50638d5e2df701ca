#include "kernels/cpu/row_ops_impl.h"
#include "kernels/cpu/simd_avx2.h"

namespace pagoda::cpu {

void AddNormAvx2(const AddNormArgs& args) { AddNorm<SimdAvx2>(args); }
void RopeAvx2(const RopeArgs& args) { Rope<SimdAvx2>(args); }

}  // namespace pagoda::cpu
