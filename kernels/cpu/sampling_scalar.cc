#include "kernels/cpu/sampling_impl.h"
#include "kernels/cpu/simd_scalar.h"

namespace pagoda::cpu {

const SamplingKernels kSamplingScalar = Sampling<SimdScalar>::kKernels;

}  // namespace pagoda::cpu
