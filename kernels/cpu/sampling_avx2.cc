#include "kernels/cpu/sampling_impl.h"
#include "kernels/cpu/simd_avx2.h"

namespace pagoda::cpu {

const SamplingKernels kSamplingAvx2 = Sampling<SimdAvx2>::kKernels;

}  // namespace pagoda::cpu
