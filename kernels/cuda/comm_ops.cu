#include <algorithm>

#include "kernels/cuda/comm_ops.h"
#include "kernels/cuda/launch.h"

namespace pagoda::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostCtas = 1024;

template <CombineOp kOp>
__device__ __forceinline__ uint32_t Pair(uint32_t a, uint32_t b) {
  if constexpr (kOp == CombineOp::kOr) return a | b;
  return __float_as_uint(__fadd_rn(__uint_as_float(a), __uint_as_float(b)));
}

template <CombineOp kOp, int kRanks>
__device__ __forceinline__ uint32_t Tree(const uint32_t* at, int64_t stride) {
  if constexpr (kRanks == 1) {
    return *at;
  } else {
    constexpr int kHalf = kRanks / 2;
    return Pair<kOp>(Tree<kOp, kHalf>(at, stride), Tree<kOp, kHalf>(at + kHalf * stride, stride));
  }
}

template <CombineOp kOp, int kRanks>
__global__ void __launch_bounds__(kThreads) Combine(__grid_constant__ const CombineArgs args) {
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < args.count; i += step) {
    args.out[i] = Tree<kOp, kRanks>(args.sources + i, args.stride);
  }
}

template <CombineOp kOp>
cudaError_t RunOp(int ranks, const CombineArgs& args, cudaStream_t stream) {
  const int64_t ctas = std::min((args.count + kThreads - 1) / kThreads, kMostCtas);
  const LaunchShape shape = {"Combine", static_cast<unsigned>(ctas), kThreads, 0, stream};
  if (ranks == 1) return Launch(shape, Combine<kOp, 1>, args);
  if (ranks == 2) return Launch(shape, Combine<kOp, 2>, args);
  if (ranks == 4) return Launch(shape, Combine<kOp, 4>, args);
  return Launch(shape, Combine<kOp, 8>, args);
}

}  // namespace

cudaError_t RunCombine(int ranks, const CombineArgs& args, cudaStream_t stream) {
  return args.op == CombineOp::kAdd ? RunOp<CombineOp::kAdd>(ranks, args, stream)
                                    : RunOp<CombineOp::kOr>(ranks, args, stream);
}

}  // namespace pagoda::cuda
