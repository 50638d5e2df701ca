#include <algorithm>

#include "kernels/cuda/attention_work.h"
#include "kernels/cuda/launch.h"

namespace pagoda::cuda {
namespace {

constexpr int kThreads = kAttentionThreads;

struct SharedF32 {
  float scores[kAttentionRows][kAttentionChunk];
};

// The contract's chains: e_j = a[2p + j] b[2p + j] by FMA within 32, then their sum to the rest.
struct Chains {
  float sum = 0, even = 0, odd = 0;
  __device__ __forceinline__ void Add(int k, float a, float b) {
    (k % 2 == 0 ? even : odd) = __fmaf_rn(a, b, k % 2 == 0 ? even : odd);
    if (k % 32 == 31) End();
  }
  __device__ __forceinline__ void End() {
    sum = __fadd_rn(sum, __fadd_rn(even, odd));
    even = odd = 0;
  }
};

// Bit for bit what the CPU backend computes in f32. For tests and small models: nothing is staged.
__global__ void __launch_bounds__(kThreads)
    AttentionF32(__grid_constant__ const AttentionArgs args, AttentionPlan::Round round) {
  auto& shared = SharedMemory<SharedF32>();
  const int dim = args.shape.head_dim, thread = static_cast<int>(threadIdx.x);
  for (int i = static_cast<int>(blockIdx.x); i < round.items; i += static_cast<int>(gridDim.x)) {
    const Work work = WorkOf(args, FindItem(args, round, round.first_item + i));
    float* const slot = args.workspace + i * AttentionSlotFloats(dim);
    for (int j = thread; j < kAttentionRows * kAttentionChunk; j += kThreads) {
      const int row = j / kAttentionChunk, at = j % kAttentionChunk;
      if (!Sees(work, row, at)) {
        shared.scores[row][at] = kMasked;
        continue;
      }
      const auto* const q =
          static_cast<const float*>(args.q) + RowOffset(args, work.item, row, args.q_stride);
      const auto* const k = reinterpret_cast<const float*>(KRow(args, work, at));
      Chains dot;
      for (int d = 0; d < dim; ++d) dot.Add(d, q[d], k[d]);
      if (dim % 32 != 0) dot.End();
      shared.scores[row][at] = __fmul_rn(dot.sum, args.shape.scale);
    }
    __syncthreads();
    float* const m = slot + int64_t{kAttentionRows} * dim;
    for (int row = thread / 16; row < kAttentionRows; row += kThreads / 16) {
      float* const scores = shared.scores[row];
      const auto keep = [&](int at, float p) { return scores[at] = p; };
      Softmax(scores, SeesChunk(work, row), m + row, m + kAttentionRows + row, keep);
    }
    __syncthreads();
    for (int j = thread; j < kAttentionRows * dim; j += kThreads) {
      const int row = j / dim, d = j % dim;
      Chains dot;
      for (int at = 0; at < kAttentionChunk; ++at) {
        const bool sees = Sees(work, row, at);
        const std::byte* const v = sees ? KRow(args, work, at) + args.v_bytes : nullptr;
        dot.Add(at,
                sees ? shared.scores[row][at] : 0.0f,
                sees ? reinterpret_cast<const float*>(v)[d] : 0.0f);
      }
      slot[j] = dot.sum;
    }
    __syncthreads();  // the scores may be overwritten
  }
}

}  // namespace

cudaError_t RunAttentionF32(const AttentionArgs& args,
                            const AttentionPlan::Round& round,
                            cudaStream_t stream) {
  const unsigned ctas = static_cast<unsigned>(std::min(round.items, args.max_ctas));
  return Launch({"AttentionF32", ctas, kThreads, sizeof(SharedF32), stream},
                AttentionF32,
                args,
                round);
}

}  // namespace pagoda::cuda
