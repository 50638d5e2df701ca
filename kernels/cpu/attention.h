// Paged attention over one layer: one kernel for decode and for chunked prefill.
//
// For every (row, head): positions [max(0, p - window + 1), p] of the row's sequence are read
// through its block table. A row's result depends on nothing but its own query and those positions:
// not on block size, block placement, the other rows, the chunking of a prefill, threads or the ISA
// path (kernels/NUMERICS.md, "Attention"). Positions outside a row's range are never multiplied and
// their blocks never looked up unless another row of the item sees them.
//
// Threads: work is split into items; any thread may run any item, in any order, each with a scratch
// of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/dtype.h"

namespace pagoda::cpu {

// Constants of a layer. `T` below is float, or uint16_t holding bf16 (`bf16`), for q, KV and out
// alike.
struct AttentionShape {
  int num_heads;     // query heads on this rank, a multiple of num_kv_heads
  int num_kv_heads;  // KV heads on this rank
  int head_dim;      // a multiple of 16, at most kMaxHeadDim
  int block_size;    // tokens, a power of two >= 8
  float scale;       // multiplies every score
  DType dtype;       // of q, KV and out alike: kF32, or kBf16
};

// Where the layer's tiles (kernels/cpu/kv_tile.h) lie in the pool. Block b, KV head h:
//   K tile at base + b * block_bytes + h * head_bytes, V tile v_bytes behind it.
struct KvLayerView {
  const std::byte* base;
  size_t block_bytes;
  size_t head_bytes;
  size_t v_bytes;
};

// The rows of one sequence in this step: consecutive positions, K and V of all of them stored.
struct AttentionSequence {
  const int32_t* blocks;  // entry i holds positions [i * block_size, (i + 1) * block_size)
  int first_position;     // of the first row; below 2^30
  int first_row;          // of q and out
  int num_rows;           // 1 for a decode
  int window;             // positions a row sees, its own included; 0: all
};

struct AttentionArgs {
  AttentionShape shape;
  KvLayerView kv;
  const AttentionSequence* sequences;
  const void* q;      // T [rows][num_heads][head_dim], after RoPE
  void* out;          // T [rows][num_heads][head_dim]
  size_t q_stride;    // elements from a row to the next
  size_t out_stride;  // elements
};

// A unit of work: `rows` rows of a sequence × `heads` query heads of one KV head.
struct AttentionItem {
  int sequence;
  int head;  // first query head
  int heads;
  int row;  // first row, counted within the sequence
  int rows;
};

inline constexpr int kMaxHeadDim = 256;
inline constexpr int kAttentionChunk = 256;       // tokens per softmax chunk, aligned to position 0
inline constexpr int kAttentionStep = 32;         // tokens per P·V step, aligned to position 0
inline constexpr int kAttentionItemRows = 32;     // rows × heads of an item, at most
inline constexpr size_t kAttentionScratchBytes =  // 64-byte aligned, per running item
    sizeof(float) * kAttentionItemRows * (3 * kMaxHeadDim + kAttentionChunk + 4);

// Appends the items of `count` sequences, longest work first. The split decides no bits.
void PlanAttention(const AttentionShape& shape,
                   const AttentionSequence* sequences,
                   int count,
                   std::vector<AttentionItem>* items);

// Computes one item. REQUIRES: denormals flushed on this thread; `scratch` as above.
using AttentionFn = void (*)(const AttentionArgs& args, const AttentionItem& item, float* scratch);

void AttentionScalar(const AttentionArgs& args, const AttentionItem& item, float* scratch);
void AttentionAvx2(const AttentionArgs& args, const AttentionItem& item, float* scratch);
void AttentionAvx512(const AttentionArgs& args, const AttentionItem& item, float* scratch);

}  // namespace pagoda::cpu
