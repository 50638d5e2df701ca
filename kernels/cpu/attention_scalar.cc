#include "kernels/cpu/attention_impl.h"
#include "kernels/cpu/simd_scalar.h"

namespace pagoda::cpu {

void AttentionScalar(const AttentionArgs& args, const AttentionItem& item, float* scratch) {
  RunAttention<SimdScalar, 1, 1>(args, item, scratch);
}

}  // namespace pagoda::cpu
