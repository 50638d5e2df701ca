#include "kernels/cpu/attention_impl.h"
#include "kernels/cpu/simd_avx512.h"

namespace pagoda::cpu {

void AttentionAvx512(const AttentionArgs& args, const AttentionItem& item, float* scratch) {
  RunAttention<SimdAvx512, 4, 2>(args, item, scratch);
}

}  // namespace pagoda::cpu
