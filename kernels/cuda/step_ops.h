// What a step does on a device beside its layers: block tables are brought up to date, parts of
// logits joined, drawn tokens taken over. Each function queues one kernel and allocates nothing.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/sampling.h"
#include "kernels/flat_step.h"

namespace pagoda::cuda {

struct TableArgs {
  const TableUpdate* updates = nullptr;
  const int32_t* entries = nullptr;  // what updates take theirs from
  int32_t num_updates = 0;           // >= 1, each of another table
  int32_t* tables = nullptr;
};
cudaError_t RunUpdateTables(const TableArgs& args, cudaStream_t stream);

// As LayerOps::JoinParts.
struct JoinArgs {
  const float* parts = nullptr;  // [ranks * rows, part]
  int64_t parts_stride = 0;      // elements
  int32_t part = 0;
  float* out = nullptr;  // [rows, cols]
  int64_t out_stride = 0;
  int32_t rows = 0;  // >= 1
  int32_t cols = 0;
};
cudaError_t RunJoinParts(const JoinArgs& args, cudaStream_t stream);

// The last tokens of the tasks' lanes are those that rank 0 has drawn.
cudaError_t RunTakeTokens(const SampleTask* tasks,
                          const SampledToken* tokens,
                          int32_t num_tasks,
                          int32_t* lane_tokens,
                          cudaStream_t stream);

}  // namespace pagoda::cuda
