#include <algorithm>

#include "kernels/cuda/attention.h"

namespace pagoda::cuda {
namespace {

class Planner {
 public:
  Planner(int32_t slots, AttentionPlan* plan) : slots_(slots), plan_(*plan) {
    plan_.folds.clear();
    plan_.rounds.clear();
  }

  // The tile's chunks from first.chunk to `last`.
  void AddTile(AttentionItem first, int32_t last) {
    bool continues = false;
    for (int32_t left = last - first.chunk + 1; left > 0;) {
      if (plan_.rounds.empty() || plan_.rounds.back().items == slots_) {
        if (continues) plan_.folds.back().goes_on = 1;
        plan_.rounds.push_back({.first_item = items_, .first_fold = Folds()});
      }
      AttentionPlan::Round& round = plan_.rounds.back();
      const int32_t count = std::min(left, slots_ - round.items);
      plan_.folds.push_back(
          {.first = first, .first_item = items_, .items = count, .continues = continues});
      ++round.folds;
      round.items += count;
      items_ += count;
      first.chunk += count;
      left -= count;
      continues = true;
    }
  }

 private:
  int32_t Folds() const { return static_cast<int32_t>(plan_.folds.size()); }

  const int32_t slots_;
  AttentionPlan& plan_;
  int32_t items_ = 0;
};

}  // namespace

void PlanAttention(const AttentionShape& shape,
                   absl::Span<const StepSequence> sequences,
                   int32_t slots,
                   AttentionPlan* plan) {
  Planner planner(slots, plan);
  const int32_t group = shape.num_heads / shape.num_kv_heads;
  for (size_t s = 0; s < sequences.size(); ++s) {
    const StepSequence& sequence = sequences[s];
    for (int32_t row = 0; row < sequence.num_rows * group; row += kAttentionRows) {
      const int32_t end = std::min(row + kAttentionRows, sequence.num_rows * group);
      const int32_t from = sequence.first_position + row / group;
      const int32_t to = sequence.first_position + (end - 1) / group;
      const int32_t low = sequence.window == 0 ? 0 : std::max(0, from - sequence.window + 1);
      for (int32_t head = 0; head < shape.num_kv_heads; ++head) {
        planner.AddTile({static_cast<int32_t>(s), row, head, low / kAttentionChunk},
                        to / kAttentionChunk);
      }
    }
  }
}

int64_t MaxAttentionFolds(int32_t num_heads,
                          int32_t num_kv_heads,
                          int64_t rows,
                          int64_t sequences,
                          int64_t positions,
                          int32_t slots) {
  const int64_t group = num_heads / num_kv_heads;
  // A sequence's last tile may be a part of one.
  const int64_t tiles = (rows * group / kAttentionRows + sequences) * num_kv_heads;
  const int64_t chunks = (positions + kAttentionChunk - 1) / kAttentionChunk + 1;
  return tiles + tiles * chunks / slots + 1;  // each round divides at most one tile
}

}  // namespace pagoda::cuda
