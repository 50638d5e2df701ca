// Operations on the rows of a step on a device (kernels/NUMERICS.md, "Embedding, norm, RoPE"): all
// in fp32, with the CPU's bits. Each function queues one kernel and allocates nothing.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "kernels/dtype.h"
#include "kernels/flat_step.h"

namespace pagoda::cuda {

struct EmbedArgs {
  const StepToken* rows = nullptr;
  const int32_t* lane_tokens = nullptr;  // [lanes]
  int32_t num_rows = 0;                  // >= 1
  const void* table = nullptr;           // [tokens, hidden] of `dtype`: ids from first_token on
  DType dtype = DType::kBf16;
  int32_t first_token = 0;
  int32_t tokens = 0;
  int32_t hidden = 0;
  float* out = nullptr;  // [num_rows, hidden]; zeros for ids of other ranks
  int64_t out_stride = 0;
};
cudaError_t RunEmbed(const EmbedArgs& args, cudaStream_t stream);

struct AddNormArgs {
  float* residual = nullptr;      // [rows, size], gains `delta`
  const float* delta = nullptr;   // [rows, size], or null
  const float* weight = nullptr;  // [size]
  void* out = nullptr;            // [rows, size] of `dtype`
  int64_t residual_stride = 0;    // elements
  int64_t delta_stride = 0;
  int64_t out_stride = 0;
  int32_t rows = 0;  // >= 1
  int32_t size = 0;
  float epsilon = 0;
  DType dtype = DType::kBf16;
};
cudaError_t RunAddNorm(const AddNormArgs& args, cudaStream_t stream);

// out [rows, size] += bias.
cudaError_t RunAddBias(float* out,
                       int64_t stride,
                       int32_t rows,
                       int32_t size,
                       const float* bias,
                       cudaStream_t stream);

// Rotates q and k, rounds q, k and v to `dtype`, keeps q and stores k and v into the pool.
struct RopeArgs {
  const StepToken* rows = nullptr;
  int32_t num_rows = 0;        // >= 1
  const float* qkv = nullptr;  // [num_rows, (num_heads + 2 num_kv_heads) * head_dim]
  int64_t qkv_stride = 0;
  const float* cos_sin = nullptr;  // [positions][cos, sin][pairs]
  int32_t pairs = 0;               // dimension d turns with d + pairs
  int32_t num_heads = 0;
  int32_t num_kv_heads = 0;
  int32_t head_dim = 0;
  DType dtype = DType::kBf16;
  void* q = nullptr;  // [num_rows, num_heads * head_dim]
  int64_t q_stride = 0;
  // K tile of KV head 0 of the layer in block 0, and how far the next head, V, and block are.
  std::byte* kv = nullptr;
  size_t head_bytes = 0;
  size_t v_bytes = 0;
  size_t block_bytes = 0;
};
cudaError_t RunRopeAndStoreKv(const RopeArgs& args, cudaStream_t stream);

// lane_tokens[to] = lane_tokens[from], or `token` when from < 0.
cudaError_t RunSetLaneToken(int32_t* lane_tokens,
                            int32_t to,
                            int32_t from,
                            int32_t token,
                            cudaStream_t stream);

}  // namespace pagoda::cuda
