#include "kernels/cuda/launch.h"
#include "kernels/cuda/step_ops.h"

namespace pagoda::cuda {
namespace {

constexpr int kThreads = 128;

// A CTA per table.
__global__ void __launch_bounds__(kThreads) UpdateTables(__grid_constant__ const TableArgs args) {
  const TableUpdate& update = args.updates[blockIdx.x];
  int32_t* const table = args.tables + update.table + update.first;
  for (int i = static_cast<int>(threadIdx.x); i < update.count; i += kThreads) {
    table[i] = args.entries[update.begin + i];
  }
}

// A CTA per row.
__global__ void __launch_bounds__(kThreads) JoinParts(__grid_constant__ const JoinArgs args) {
  const int64_t row = blockIdx.x;
  float* const out = args.out + row * args.out_stride;
  for (int c = static_cast<int>(threadIdx.x); c < args.cols; c += kThreads) {
    const int64_t from = int64_t{c / args.part} * args.rows + row;
    out[c] = args.parts[from * args.parts_stride + c % args.part];
  }
}

__global__ void __launch_bounds__(kThreads) TakeTokens(const SampleTask* tasks,
                                                       const SampledToken* tokens,
                                                       int32_t num_tasks,
                                                       int32_t* lane_tokens) {
  const int task = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (task >= num_tasks) return;
  const int token = tokens[task].token;
  lane_tokens[tasks[task].lane] = token > 0 ? token : 0;
}

}  // namespace

cudaError_t RunUpdateTables(const TableArgs& args, cudaStream_t stream) {
  return Launch({"UpdateTables", static_cast<unsigned>(args.num_updates), kThreads, 0, stream},
                UpdateTables,
                args);
}

cudaError_t RunJoinParts(const JoinArgs& args, cudaStream_t stream) {
  return Launch({"JoinParts", static_cast<unsigned>(args.rows), kThreads, 0, stream},
                JoinParts,
                args);
}

cudaError_t RunTakeTokens(const SampleTask* tasks,
                          const SampledToken* tokens,
                          int32_t num_tasks,
                          int32_t* lane_tokens,
                          cudaStream_t stream) {
  const unsigned ctas = static_cast<unsigned>((num_tasks + kThreads - 1) / kThreads);
  return Launch({"TakeTokens", ctas, kThreads, 0, stream},
                TakeTokens,
                tasks,
                tokens,
                num_tasks,
                lane_tokens);
}

}  // namespace pagoda::cuda
