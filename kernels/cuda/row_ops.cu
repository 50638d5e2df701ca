#include "kernels/cuda/launch.h"
#include "kernels/cuda/row_ops.h"

namespace pagoda::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kLanes = 16;  // of the contract's reduction

__device__ __forceinline__ void StoreAs(void* row, DType dtype, int64_t i, float value) {
  if (dtype == DType::kF32) {
    static_cast<float*>(row)[i] = value;
  } else {
    static_cast<uint16_t*>(row)[i] = F32ToBf16(value);
  }
}

__device__ __forceinline__ float LoadAs(const void* row, DType dtype, int64_t i) {
  return dtype == DType::kF32 ? static_cast<const float*>(row)[i]
                              : Bf16ToF32(static_cast<const uint16_t*>(row)[i]);
}

__device__ __forceinline__ void* RowOf(void* data, DType dtype, int64_t stride, int64_t row) {
  return static_cast<std::byte*>(data) + row * stride * static_cast<int64_t>(DTypeSize(dtype));
}

// A CTA per row.
__global__ void __launch_bounds__(kThreads) Embed(__grid_constant__ const EmbedArgs args) {
  const int64_t row = blockIdx.x;
  const StepToken& step = args.rows[row];
  const int token = (step.token < 0 ? args.lane_tokens[step.lane] : step.token) - args.first_token;
  const bool is_ours = token >= 0 && token < args.tokens;
  float* const out = args.out + row * args.out_stride;
  for (int i = static_cast<int>(threadIdx.x); i < args.hidden; i += kThreads) {
    out[i] = is_ours ? LoadAs(args.table, args.dtype, int64_t{token} * args.hidden + i) : 0.0f;
  }
}

struct NormShared {
  float scale;
};

// A CTA per row. Sixteen threads sum the squares, in the contract's order.
__global__ void __launch_bounds__(kThreads) AddNorm(__grid_constant__ const AddNormArgs args) {
  NormShared& shared = SharedMemory<NormShared>();
  const int64_t row = blockIdx.x;
  const int thread = static_cast<int>(threadIdx.x);
  float* const x = args.residual + row * args.residual_stride;
  if (args.delta != nullptr) {
    const float* const delta = args.delta + row * args.delta_stride;
    for (int i = thread; i < args.size; i += kThreads) x[i] = __fadd_rn(x[i], delta[i]);
    __syncthreads();  // the row is whole
  }
  if (thread < 32) {
    float squares = 0;
    if (thread < kLanes) {
      for (int i = thread; i < args.size; i += kLanes) squares = __fmaf_rn(x[i], x[i], squares);
    }
    for (int step = kLanes / 2; step > 0; step /= 2) {
      squares = __fadd_rn(squares, __shfl_xor_sync(0xffffffff, squares, step));
    }
    const float mean = __fdiv_rn(squares, static_cast<float>(args.size));
    if (thread == 0) {
      shared.scale = __fdiv_rn(1.0f, __fsqrt_rn(__fadd_rn(mean, args.epsilon)));
    }
  }
  __syncthreads();  // the scale is there
  void* const out = RowOf(args.out, args.dtype, args.out_stride, row);
  for (int i = thread; i < args.size; i += kThreads) {
    StoreAs(out, args.dtype, i, __fmul_rn(__fmul_rn(x[i], shared.scale), args.weight[i]));
  }
}

__global__ void __launch_bounds__(kThreads)
    AddBias(float* out, int64_t stride, int32_t size, const float* bias) {
  float* const row = out + blockIdx.x * stride;
  for (int i = static_cast<int>(threadIdx.x); i < size; i += kThreads) {
    row[i] = __fadd_rn(row[i], bias[i]);
  }
}

// Dimension d of a head after the turn.
__device__ __forceinline__ float Turned(const RopeArgs& args,
                                        const float* head,
                                        const float* cos,
                                        int d) {
  if (d >= 2 * args.pairs) return head[d];
  const int p = d % args.pairs;
  const float x1 = head[p], x2 = head[p + args.pairs];
  const float c = cos[p], s = cos[args.pairs + p];
  return d < args.pairs ? __fmaf_rn(x2, __fadd_rn(0.0f, -s), __fmul_rn(x1, c))
                        : __fmaf_rn(x1, s, __fmul_rn(x2, c));
}

// A CTA per row.
__global__ void __launch_bounds__(kThreads) RopeAndStoreKv(__grid_constant__ const RopeArgs args) {
  const int64_t row = blockIdx.x;
  const StepToken& step = args.rows[row];
  const float* const in = args.qkv + row * args.qkv_stride;
  const float* const cos = args.cos_sin + int64_t{step.position} * 2 * args.pairs;
  const int dim = args.head_dim;
  void* const q = RowOf(args.q, args.dtype, args.q_stride, row);
  std::byte* const block = args.kv + step.block * args.block_bytes;
  const int heads = args.num_heads + 2 * args.num_kv_heads;
  for (int i = static_cast<int>(threadIdx.x); i < heads * dim; i += kThreads) {
    const int head = i / dim, d = i % dim, kv_head = head - args.num_heads;
    if (kv_head < 0) {
      StoreAs(q, args.dtype, i, Turned(args, in + int64_t{head} * dim, cos, d));
    } else if (kv_head < args.num_kv_heads) {
      StoreAs(block + kv_head * args.head_bytes,
              args.dtype,
              step.slot * dim + d,
              Turned(args, in + int64_t{head} * dim, cos, d));
    } else {
      StoreAs(block + (kv_head - args.num_kv_heads) * args.head_bytes + args.v_bytes,
              args.dtype,
              step.slot * dim + d,
              in[i]);
    }
  }
}

__global__ void SetLaneToken(int32_t* lane_tokens, int32_t to, int32_t from, int32_t token) {
  if (threadIdx.x == 0) lane_tokens[to] = from < 0 ? token : lane_tokens[from];
}

LaunchShape RowShape(const char* name, int32_t rows, size_t shared, cudaStream_t stream) {
  return {name, static_cast<unsigned>(rows), kThreads, shared, stream};
}

}  // namespace

cudaError_t RunEmbed(const EmbedArgs& args, cudaStream_t stream) {
  return Launch(RowShape("Embed", args.num_rows, 0, stream), Embed, args);
}

cudaError_t RunAddNorm(const AddNormArgs& args, cudaStream_t stream) {
  return Launch(RowShape("AddNorm", args.rows, sizeof(NormShared), stream), AddNorm, args);
}

cudaError_t RunAddBias(float* out,
                       int64_t stride,
                       int32_t rows,
                       int32_t size,
                       const float* bias,
                       cudaStream_t stream) {
  return Launch(RowShape("AddBias", rows, 0, stream), AddBias, out, stride, size, bias);
}

cudaError_t RunRopeAndStoreKv(const RopeArgs& args, cudaStream_t stream) {
  return Launch(RowShape("RopeAndStoreKv", args.num_rows, 0, stream), RopeAndStoreKv, args);
}

cudaError_t RunSetLaneToken(int32_t* lane_tokens,
                            int32_t to,
                            int32_t from,
                            int32_t token,
                            cudaStream_t stream) {
  return Launch({"SetLaneToken", 1, 32, 0, stream}, SetLaneToken, lane_tokens, to, from, token);
}

}  // namespace pagoda::cuda
