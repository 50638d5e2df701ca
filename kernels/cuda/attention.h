// Paged attention on a device: one kernel for decode and chunked prefill, with the numerics of
// kernels/NUMERICS.md ("Attention"). Chunks of 256 positions are independent pieces of work, whose
// partial results are then folded in order, so a row's result depends neither on how many rows or
// sequences there are nor on how the work is divided.
//
// Inside a tile of the KV pool: K and V alike [block_size][head_dim].
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "kernels/dtype.h"
#include "kernels/flat_step.h"

namespace pagoda::cuda {

inline constexpr int kAttentionChunk = 256;  // positions
inline constexpr int kAttentionRows = 16;    // rows of mma: (token, head of the KV head's group)

struct AttentionShape {
  int32_t num_heads = 0;     // of this rank, a multiple of num_kv_heads
  int32_t num_kv_heads = 0;  // of this rank
  int32_t head_dim = 0;      // bf16: a multiple of 16 up to 256
  int32_t block_size = 0;    // a power of two
  float scale = 0;
  DType dtype = DType::kBf16;
};

// A tile of up to 16 rows of one KV head over one chunk. Row r of a sequence's KV head is token
// r / group of head r % group, group = num_heads / num_kv_heads.
struct AttentionItem {
  int32_t sequence = 0;
  int32_t row = 0;  // of the sequence's KV head; a multiple of 16
  int32_t kv_head = 0;
  int32_t chunk = 0;  // positions [256 chunk, 256 chunk + 256)
};

// The consecutive chunks of one tile in one round: items [first_item, first_item + items) of the
// step.
struct AttentionFold {
  AttentionItem first;
  int32_t first_item = 0;
  int32_t items = 0;
  int32_t continues = 0;  // an earlier round began the tile: its state is in the carry
  int32_t goes_on = 0;    // a later round ends it: its state goes to the carry
};

// The work of a layer, all layers alike, divided into rounds whose partial results fit the
// workspace.
struct AttentionPlan {
  struct Round {
    int32_t first_item = 0;
    int32_t items = 0;
    int32_t first_fold = 0;
    int32_t folds = 0;
  };
  std::vector<AttentionFold> folds;
  std::vector<Round> rounds;
};

// The most folds of a step of `rows` rows and `sequences` sequences up to position `positions`.
int64_t MaxAttentionFolds(int32_t num_heads,
                          int32_t num_kv_heads,
                          int64_t rows,
                          int64_t sequences,
                          int64_t positions,
                          int32_t slots);

// Fills `plan`, whose memory is kept. At most `slots` >= 1 items a round.
void PlanAttention(const AttentionShape& shape,
                   absl::Span<const StepSequence> sequences,
                   int32_t slots,
                   AttentionPlan* plan);

// The partial result of an item, and the state of a fold: o [16][head_dim], m [16], l [16].
constexpr size_t AttentionSlotFloats(int32_t head_dim) {
  return size_t{kAttentionRows} * (head_dim + 2);
}

struct AttentionArgs {
  AttentionShape shape;
  // K tile of KV head 0 of the layer in block 0, and how far the next head, V, and block are.
  const std::byte* kv = nullptr;
  size_t head_bytes = 0;
  size_t v_bytes = 0;
  size_t block_bytes = 0;
  const StepSequence* sequences = nullptr;
  const int32_t* tables = nullptr;
  const AttentionFold* folds = nullptr;  // the plan's, on the device
  const void* q = nullptr;               // [rows, num_heads * head_dim], rows begin on 16 bytes
  int64_t q_stride = 0;                  // elements
  void* out = nullptr;                   // likewise
  int64_t out_stride = 0;
  float* workspace = nullptr;  // slots * AttentionSlotFloats
  float* carry = nullptr;      // 2 * AttentionSlotFloats: rounds take turns
  int32_t max_ctas = 0;        // that run at once; a matter of speed
};

// Once per process, at start.
cudaError_t PrepareAttention();

// Queues all rounds of the plan. Allocates nothing.
cudaError_t RunAttention(const AttentionArgs& args,
                         absl::Span<const AttentionPlan::Round> rounds,
                         cudaStream_t stream);

}  // namespace pagoda::cuda
