// What the attention kernels share: an item's rows and positions, where their bytes are, softmax.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/device_math.h"

namespace pagoda::cuda {

inline constexpr int kAttentionThreads = 128;        // of a CTA
inline constexpr float kMasked = -__builtin_inff();  // the score of an unseen position

// What an item's tile is: its rows, and the positions of the chunk that any of them sees.
struct Work {
  AttentionItem item;
  const StepSequence& sequence;
  int group;
  int rows;   // of 16
  int begin;  // positions of the chunk [begin, end)
  int end;
};

__device__ __forceinline__ int Low(const StepSequence& sequence, int position) {
  const int low = position - sequence.window + 1;
  return sequence.window == 0 || low < 0 ? 0 : low;
}

__device__ __forceinline__ Work WorkOf(const AttentionArgs& args, const AttentionItem& item) {
  const StepSequence& sequence = args.sequences[item.sequence];
  const int group = args.shape.num_heads / args.shape.num_kv_heads;
  const int left = sequence.num_rows * group - item.row;
  const int rows = left < kAttentionRows ? left : kAttentionRows;
  const int first = sequence.first_position + item.row / group;
  const int last = sequence.first_position + (item.row + rows - 1) / group;
  const int chunk = item.chunk * kAttentionChunk;
  const int low = Low(sequence, first) - chunk, high = last + 1 - chunk;
  return {item,
          sequence,
          group,
          rows,
          low > 0 ? low : 0,
          high < kAttentionChunk ? high : kAttentionChunk};
}

// Item `item` of the step, whose fold is one of the round's.
__device__ __forceinline__ AttentionItem FindItem(const AttentionArgs& args,
                                                  const AttentionPlan::Round& round,
                                                  int item) {
  int low = round.first_fold, high = round.first_fold + round.folds;
  while (high - low > 1) {
    const int middle = low + (high - low) / 2;
    (args.folds[middle].first_item <= item ? low : high) = middle;
  }
  AttentionItem found = args.folds[low].first;
  found.chunk += item - args.folds[low].first_item;
  return found;
}

// The position of the token of row `row` of the tile.
__device__ __forceinline__ int Own(const Work& work, int row) {
  return work.sequence.first_position + (work.item.row + row) / work.group;
}

// Whether row `row` sees any position of the chunk.
__device__ __forceinline__ bool SeesChunk(const Work& work, int row) {
  const int own = Own(work, row);
  return row < work.rows && own / kAttentionChunk >= work.item.chunk &&
         Low(work.sequence, own) / kAttentionChunk <= work.item.chunk;
}

// Whether row `row` sees position `at` of the chunk.
__device__ __forceinline__ bool Sees(const Work& work, int row, int at) {
  const int own = Own(work, row);
  const int position = work.item.chunk * kAttentionChunk + at;
  return row < work.rows && position <= own && position >= Low(work.sequence, own);
}

// Row `row` of the tile in q or out, in elements.
__device__ __forceinline__ int64_t RowOffset(const AttentionArgs& args,
                                             const AttentionItem& item,
                                             int row,
                                             int64_t stride) {
  const StepSequence& sequence = args.sequences[item.sequence];
  const int group = args.shape.num_heads / args.shape.num_kv_heads;
  const int r = item.row + row;
  const int head = item.kv_head * group + r % group;
  return (sequence.first_row + r / group) * stride + int64_t{head} * args.shape.head_dim;
}

// K of position `at` of the chunk; V is args.v_bytes further.
__device__ __forceinline__ const std::byte* KRow(const AttentionArgs& args,
                                                 const Work& work,
                                                 int at) {
  const int position = work.item.chunk * kAttentionChunk + at;
  const int block = args.tables[work.sequence.table + position / args.shape.block_size];
  const size_t row = size_t{1} * args.shape.head_dim * DTypeSize(args.shape.dtype);
  return args.kv + block * args.block_bytes + work.item.kv_head * args.head_bytes +
         position % args.shape.block_size * row;
}

// Scores of a row to weights exp(s - m), m and l; half a warp per row, lane j of it takes the
// positions j mod 16. `weight(at, w)` keeps a weight and answers what is to be summed. A row that
// sees nothing of the chunk has weights of 0.
template <class Fn>
__device__ __forceinline__ void Softmax(const float* scores,
                                        bool sees_chunk,
                                        float* m,
                                        float* l,
                                        Fn weight) {
  const int lane = static_cast<int>(threadIdx.x) % 16;
  float max = kMasked;
  for (int at = lane; at < kAttentionChunk; at += 16) max = Max(max, scores[at]);
  for (int step = 8; step > 0; step /= 2) max = Max(max, __shfl_xor_sync(0xffffffff, max, step));
  float sum = 0;
  for (int at = lane; at < kAttentionChunk; at += 16) {
    const float p = sees_chunk ? Exp(__fadd_rn(scores[at], -max)) : 0.0f;
    sum = __fadd_rn(sum, weight(at, p));
  }
  for (int step = 8; step > 0; step /= 2) {
    sum = __fadd_rn(sum, __shfl_xor_sync(0xffffffff, sum, step));
  }
  if (lane == 0) {
    *m = max;
    *l = sum;
  }
}

// Queues the items of a round, on at most args.max_ctas CTAs.
cudaError_t RunAttentionBf16(const AttentionArgs& args,
                             const AttentionPlan::Round& round,
                             cudaStream_t stream);
cudaError_t RunAttentionF32(const AttentionArgs& args,
                            const AttentionPlan::Round& round,
                            cudaStream_t stream);

}  // namespace pagoda::cuda
