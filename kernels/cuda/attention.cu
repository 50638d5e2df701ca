#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_work.h"
#include "kernels/cuda/device_math.h"
#include "kernels/cuda/launch.h"

namespace pagoda::cuda {
namespace {

constexpr int kThreads = kAttentionThreads;
constexpr int kWarps = kThreads / 32;
constexpr int kMaxPerLane = 8;  // columns of a lane: 256 / 32

// Folds the chunks of one tile, a warp per row, in order.
__global__ void __launch_bounds__(kThreads)
    FoldChunks(__grid_constant__ const AttentionArgs args, AttentionPlan::Round round, int turn) {
  const AttentionFold fold = args.folds[round.first_fold + static_cast<int>(blockIdx.x)];
  const int dim = args.shape.head_dim, lane = static_cast<int>(threadIdx.x) % 32;
  const AttentionItem& item = fold.first;
  const Work work = WorkOf(args, item);
  const size_t slot_floats = AttentionSlotFloats(dim);
  // What the round before left, and what this one leaves: of two tiles, perhaps.
  const float* const from = args.carry + (1 - turn) * slot_floats;
  float* const to = args.carry + turn * slot_floats;
  for (int row = static_cast<int>(threadIdx.x) / 32; row < work.rows; row += kWarps) {
    const int own = Own(work, row);
    const int first = Low(work.sequence, own) / kAttentionChunk, last = own / kAttentionChunk;
    float max = 0, sum = 0, o[kMaxPerLane] = {};
    const auto add = [&](const float* slot, bool is_first) {
      const float m = slot[kAttentionRows * dim + row];
      const float l = slot[kAttentionRows * (dim + 1) + row];
      const float new_max = is_first ? m : Max(max, m);
      const float a = Exp(__fadd_rn(max, -new_max)), b = Exp(__fadd_rn(m, -new_max));
      max = new_max;
      sum = is_first ? l : __fmaf_rn(sum, a, __fmul_rn(l, b));
#pragma unroll
      for (int i = 0; i < kMaxPerLane; ++i) {
        const int d = i * 32 + lane;
        if (d >= dim) continue;
        const float value = slot[row * dim + d];
        o[i] = is_first ? value : __fmaf_rn(o[i], a, __fmul_rn(value, b));
      }
    };
    if (fold.continues && first < item.chunk) add(from, true);
    for (int i = 0; i < fold.items; ++i) {
      const int chunk = item.chunk + i;
      if (chunk < first || chunk > last) continue;
      add(args.workspace + (fold.first_item - round.first_item + i) * slot_floats, chunk == first);
    }
    const int64_t out = RowOffset(args, item, row, args.out_stride);
#pragma unroll
    for (int i = 0; i < kMaxPerLane; ++i) {
      const int d = i * 32 + lane;
      if (d >= dim) continue;
      const float result = __fdiv_rn(o[i], sum);
      if (fold.goes_on) {
        to[row * dim + d] = o[i];
      } else if (args.shape.dtype == DType::kF32) {
        static_cast<float*>(args.out)[out + d] = result;
      } else {
        static_cast<uint16_t*>(args.out)[out + d] = F32ToBf16(result);
      }
    }
    if (fold.goes_on && lane == 0) {
      to[kAttentionRows * dim + row] = max;
      to[kAttentionRows * (dim + 1) + row] = sum;
    }
  }
}

}  // namespace

cudaError_t RunAttention(const AttentionArgs& args,
                         absl::Span<const AttentionPlan::Round> rounds,
                         cudaStream_t stream) {
  int turn = 0;
  for (const AttentionPlan::Round& round : rounds) {
    cudaError_t error = args.shape.dtype == DType::kF32 ? RunAttentionF32(args, round, stream)
                                                        : RunAttentionBf16(args, round, stream);
    if (error != cudaSuccess) return error;
    error = Launch({"FoldChunks", static_cast<unsigned>(round.folds), kThreads, 0, stream},
                   FoldChunks,
                   args,
                   round,
                   turn);
    if (error != cudaSuccess) return error;
    turn = 1 - turn;
  }
  return cudaSuccess;
}

}  // namespace pagoda::cuda
