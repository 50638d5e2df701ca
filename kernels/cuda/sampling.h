// Draws tokens from rows of logits on a device, with the bits of the CPU backend: penalties, bias,
// bans, temperature, min-p, top-k, top-p, Gumbel-max, and log-probabilities of the raw logits
// (kernels/NUMERICS.md, "Sampling"). The vocabulary is never sorted: top-k and top-p find where the
// sequence of candidates is cut by a radix selection over the bits of their scores.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "kernels/step.h"

namespace pagoda::cuda {

// A change to one logit before the draw. A row's penalties come first, then biases, then bans; each
// token is penalised and banned once.
struct LogitEdit {
  int32_t token = 0;
  int32_t count = 0;  // penalties: how often it was drawn
  float bias = 0;
};

// One row to draw, on the device.
struct SampleTask {
  int32_t logits_row = 0;
  int32_t lane = 0;
  SamplingParams params;
  uint32_t position = 0;
  uint32_t sequence_index = 0;
  int32_t first_edit = 0;  // edits [first_edit, biases) are penalties, [biases, bans) biases,
  int32_t biases = 0;      // [bans, end) bans
  int32_t bans = 0;
  int32_t end = 0;
  int32_t top_begin = 0;  // of StepOutput::top
};

// Rows that are drawn together; memory is kept.
struct SamplePlan {
  std::vector<SampleTask> tasks;
  std::vector<LogitEdit> edits;
  int32_t top = 0;  // entries of StepOutput::top that the rows take at most
};

// What a plan may hold.
struct SampleLimits {
  size_t edits = 0;
  int32_t top = 0;
};

// Fills `plan` with the first of the rows that `limits` allow; answers how many. 0: there are none,
// or the first is more than a plan holds. REQUIRES: token ids in [0, vocab).
size_t PlanSampling(absl::Span<const SampleRow> rows,
                    int32_t vocab,
                    const SampleLimits& limits,
                    SamplePlan* plan);

struct SampleArgs {
  const float* logits = nullptr;  // [logits rows, vocab]
  int64_t logits_stride = 0;
  int32_t vocab = 0;
  const SampleTask* tasks = nullptr;  // [num_tasks]
  const LogitEdit* edits = nullptr;
  int32_t num_tasks = 0;           // >= 1
  float* edited = nullptr;         // [num_tasks, vocab]: used by rows with edits
  SampledToken* tokens = nullptr;  // [num_tasks]
  TokenLogprob* top = nullptr;     // of all tasks
  int32_t* lane_tokens = nullptr;  // [lanes]: the drawn token; 0 where none could be drawn
};

// Queues one kernel. Allocates nothing.
cudaError_t RunSampling(const SampleArgs& args, cudaStream_t stream);

}  // namespace pagoda::cuda
