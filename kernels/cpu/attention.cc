#include "kernels/cpu/attention.h"

#include <algorithm>

#include "common/check.h"

namespace pagoda::cpu {
namespace {

// Positions an item's last row sees: the item's work per head, up to a constant.
int64_t Visible(const AttentionSequence& sequence, const AttentionItem& item) {
  const int64_t end = int64_t{sequence.first_position} + item.row + item.rows;
  const int64_t span = sequence.window > 0 ? int64_t{sequence.window} + item.rows : end;
  return std::min(end, span) * item.rows * item.heads;
}

}  // namespace

void PlanAttention(const AttentionShape& shape,
                   const AttentionSequence* sequences,
                   int count,
                   std::vector<AttentionItem>* items) {
  CHECK_EQ(shape.num_heads % shape.num_kv_heads, 0);
  const int group = shape.num_heads / shape.num_kv_heads;
  const size_t first = items->size();
  for (int s = 0; s < count; ++s) {
    for (int head = 0; head < shape.num_heads;) {
      const int left_in_group = group - head % group;
      const int heads = std::min(left_in_group, kAttentionItemRows);
      const int rows = kAttentionItemRows / heads;
      for (int row = 0; row < sequences[s].num_rows; row += rows) {
        items->push_back({s, head, heads, row, std::min(rows, sequences[s].num_rows - row)});
      }
      head += heads;
    }
  }
  std::stable_sort(items->begin() + first, items->end(), [&](const auto& a, const auto& b) {
    return Visible(sequences[a.sequence], a) > Visible(sequences[b.sequence], b);
  });
}

}  // namespace pagoda::cpu
