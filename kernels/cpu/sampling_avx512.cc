#include "kernels/cpu/sampling_impl.h"
#include "kernels/cpu/simd_avx512.h"

namespace pagoda::cpu {

const SamplingKernels kSamplingAvx512 = Sampling<SimdAvx512>::kKernels;

}  // namespace pagoda::cpu
