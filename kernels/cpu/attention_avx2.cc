#include "kernels/cpu/attention_impl.h"
#include "kernels/cpu/simd_avx2.h"

namespace pagoda::cpu {

void AttentionAvx2(const AttentionArgs& args, const AttentionItem& item, float* scratch) {
  RunAttention<SimdAvx2, 3, 2>(args, item, scratch);
}

}  // namespace pagoda::cpu
