#include "kernels/cpu/row_ops_impl.h"
#include "kernels/cpu/simd_scalar.h"

namespace pagoda::cpu {

void AddNormScalar(const AddNormArgs& args) { AddNorm<SimdScalar>(args); }
void RopeScalar(const RopeArgs& args) { Rope<SimdScalar>(args); }

}  // namespace pagoda::cpu
