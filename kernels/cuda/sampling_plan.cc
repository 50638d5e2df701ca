#include <algorithm>

#include "kernels/cuda/sampling.h"

namespace pagoda::cuda {
namespace {

// One edit per token of prompt or output, with its count in the output.
void AddPenalties(const SampleRow& row, std::vector<LogitEdit>* edits) {
  const size_t first = edits->size();
  for (const int32_t id : row.prompt) edits->push_back({.token = id});
  for (const int32_t id : row.output) edits->push_back({.token = id, .count = 1});
  const auto begin = edits->begin() + static_cast<ptrdiff_t>(first);
  std::sort(begin, edits->end(), [](const LogitEdit& a, const LogitEdit& b) {
    return a.token < b.token;
  });
  size_t kept = first;
  for (size_t i = first; i < edits->size(); ++i) {
    if (kept > first && (*edits)[kept - 1].token == (*edits)[i].token) {
      (*edits)[kept - 1].count += (*edits)[i].count;
    } else {
      (*edits)[kept++] = (*edits)[i];
    }
  }
  edits->resize(kept);
}

}  // namespace

size_t PlanSampling(absl::Span<const SampleRow> rows,
                    int32_t vocab,
                    const SampleLimits& limits,
                    SamplePlan* plan) {
  std::vector<LogitEdit>* const edits = &plan->edits;
  plan->tasks.clear();
  edits->clear();
  plan->top = 0;
  const auto here = [&] { return static_cast<int32_t>(edits->size()); };
  for (const SampleRow& row : rows) {
    const int32_t top = std::clamp(row.params.logprobs, 0, vocab);
    SampleTask task = {.logits_row = row.logits_row,
                       .lane = row.lane,
                       .params = row.params,
                       .position = static_cast<uint32_t>(row.position),
                       .sequence_index = static_cast<uint32_t>(row.sequence_index),
                       .top_begin = plan->top};
    task.first_edit = here();
    if (row.params.repetition_penalty != 1 || row.params.presence_penalty != 0 ||
        row.params.frequency_penalty != 0) {
      AddPenalties(row, edits);
    }
    task.biases = here();
    for (const LogitBias& b : row.bias) edits->push_back({.token = b.token, .bias = b.bias});
    task.bans = here();
    for (const int32_t id : row.banned) edits->push_back({.token = id});
    task.end = here();
    if (edits->size() > limits.edits || top > limits.top - plan->top) {
      edits->resize(task.first_edit);
      break;
    }
    plan->tasks.push_back(task);
    plan->top += top;
  }
  return plan->tasks.size();
}

}  // namespace pagoda::cuda
