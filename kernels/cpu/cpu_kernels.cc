#include "kernels/cpu/cpu_kernels.h"

#include "common/check.h"

namespace pagoda::cpu {

CpuKernels KernelsFor(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return {LinearScalar, AddNormScalar, RopeScalar, AttentionScalar, &kSamplingScalar};
    case Isa::kAvx2:
      return {LinearAvx2, AddNormAvx2, RopeAvx2, AttentionAvx2, &kSamplingAvx2};
    case Isa::kAvx512:
      return {LinearAvx512, AddNormAvx512, RopeAvx512, AttentionAvx512, &kSamplingAvx512};
  }
  CHECK(false) << "isa " << static_cast<int>(isa);
  return {};
}

}  // namespace pagoda::cpu
