#include <algorithm>

#include "kernels/cuda/attention.h"

namespace pagoda::cuda {
namespace {

class Planner {
 public:
  Planner(int32_t slots, AttentionPlan* plan) : slots_(slots), plan_(*plan) {
    plan_.items.clear();
    plan_.folds.clear();
    plan_.rounds.clear();
  }

  // The tile's chunks [first, last].
  void AddTile(AttentionItem item, int32_t first, int32_t last) {
    bool continues = false;
    for (item.chunk = first; item.chunk <= last; ++item.chunk) {
      if (plan_.rounds.empty() || plan_.rounds.back().items == slots_) {
        continues = item.chunk > first;
        if (continues) plan_.folds.back().goes_on = 1;
        plan_.rounds.push_back({.first_item = Items(), .first_fold = Folds()});
        AddFold(continues);
      } else if (item.chunk == first) {
        AddFold(false);
      }
      plan_.items.push_back(item);
      ++plan_.folds.back().items;
      ++plan_.rounds.back().items;
    }
  }

 private:
  void AddFold(bool continues) {
    plan_.folds.push_back({.first_item = Items(), .continues = continues});
    ++plan_.rounds.back().folds;
  }
  int32_t Items() const { return static_cast<int32_t>(plan_.items.size()); }
  int32_t Folds() const { return static_cast<int32_t>(plan_.folds.size()); }

  const int32_t slots_;
  AttentionPlan& plan_;
};

}  // namespace

void PlanAttention(const AttentionShape& shape,
                   absl::Span<const AttentionSequence> sequences,
                   int32_t slots,
                   AttentionPlan* plan) {
  Planner planner(slots, plan);
  const int32_t group = shape.num_heads / shape.num_kv_heads;
  for (size_t s = 0; s < sequences.size(); ++s) {
    const AttentionSequence& sequence = sequences[s];
    for (int32_t row = 0; row < sequence.num_rows * group; row += kAttentionRows) {
      const int32_t end = std::min(row + kAttentionRows, sequence.num_rows * group);
      const int32_t from = sequence.first_position + row / group;
      const int32_t to = sequence.first_position + (end - 1) / group;
      const int32_t low = sequence.window == 0 ? 0 : std::max(0, from - sequence.window + 1);
      for (int32_t head = 0; head < shape.num_kv_heads; ++head) {
        planner.AddTile({.sequence = static_cast<int32_t>(s), .row = row, .kv_head = head},
                        low / kAttentionChunk,
                        to / kAttentionChunk);
      }
    }
  }
}

}  // namespace pagoda::cuda
