#include "kernels/cpu/linear_impl.h"
#include "kernels/cpu/simd_avx512.h"

namespace pagoda::cpu {

void LinearAvx512(const LinearArgs& args) { Linear<SimdAvx512>(args); }

}  // namespace pagoda::cpu
