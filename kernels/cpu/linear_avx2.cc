#include "kernels/cpu/linear_impl.h"
#include "kernels/cpu/simd_avx2.h"

namespace pagoda::cpu {

void LinearAvx2(const LinearArgs& args) { Linear<SimdAvx2>(args); }

}  // namespace pagoda::cpu
