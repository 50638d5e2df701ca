#include "kernels/cpu/linear_impl.h"
#include "kernels/cpu/simd_scalar.h"

namespace pagoda::cpu {

void LinearScalar(const LinearArgs& args) { Linear<SimdScalar>(args); }

}  // namespace pagoda::cpu
