#include "kernels/cpu/layer_ops.h"

#include <algorithm>
#include <cstdint>

#include "common/check.h"
#include "kernels/cpu/kv_pool.h"
#include "kernels/cpu/kv_tile.h"
#include "kernels/cpu/weights.h"

namespace pagoda::cpu {
namespace {

// Below this many elements (or multiply-adds) the caller is done before a helper would have begun.
constexpr int64_t kSmallRows = 8192;
constexpr int64_t kSmallLinear = int64_t{64} * 1024;

template <class To, class From>
const To& Own(const From& object) {
  const To* own = dynamic_cast<const To*>(&object);
  CHECK(own != nullptr) << "made by another backend";
  return *own;
}

void CheckView(const TensorView& view, int64_t rows, int64_t cols, DType dtype) {
  CHECK(view.data != nullptr);
  CHECK_EQ(view.rows, rows);
  CHECK_EQ(view.cols, cols);
  CHECK_GE(view.row_stride, cols);
  CHECK(view.dtype == dtype) << DTypeName(view.dtype) << " instead of " << DTypeName(dtype);
}

void* RowOf(const TensorView& view, int64_t row) {
  return static_cast<std::byte*>(view.data) + row * view.row_stride * DTypeSize(view.dtype);
}

// fn(row) for every row of [0, rows).
template <class Fn>
void ForRows(ThreadTeam& team, int64_t rows, int64_t cols, const Fn& fn) {
  const auto part = [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) fn(row);
  };
  if (rows * cols < kSmallRows) return part(0, rows, 0);
  team.Split(rows, part);
}

// A row's place in the pool.
struct KvPlace {
  std::byte* k;  // tile of KV head 0
  size_t head_bytes, v_bytes;
  int slot;
};

template <class T>
void StoreKv(const KvPlace& place,
             const CpuKernels& kernels,
             const KvLayout& layout,
             RopeArgs rope,
             const float* k,
             const float* v) {
  alignas(64) T rounded[kMaxHeadDim];
  rope.out = rounded;
  rope.heads = 1;
  for (int head = 0; head < layout.num_kv_heads; ++head) {
    std::byte* tile = place.k + head * place.head_bytes;
    rope.in = k + int64_t{head} * layout.head_dim;
    kernels.rope(rope);
    StoreKToken(reinterpret_cast<T*>(tile),
                place.slot,
                rounded,
                layout.head_dim,
                layout.block_size);
    RopeArgs round = rope;
    round.pairs = 0;
    round.in = v + int64_t{head} * layout.head_dim;
    kernels.rope(round);
    StoreVToken(reinterpret_cast<T*>(tile + place.v_bytes), place.slot, rounded, layout.head_dim);
  }
}

}  // namespace

float* TeamScratch::Floats(int thread, size_t bytes) const {
  CHECK_LE(bytes, bytes_per_thread_) << "scratch of Configure is too small";
  return reinterpret_cast<float*>(memory_.data() + thread * bytes_per_thread_);
}

void CpuLayerOps::Embed(const EmbeddingWeight& weight, TensorView out) {
  const auto& table = Own<CpuEmbedding>(weight);
  CheckView(out, step_.num_rows(), table.hidden(), DType::kF32);
  const absl::Span<const StepToken> tokens = step_.tokens();
  ForRows(team_, out.rows, out.cols, [&](int64_t row) {
    CHECK_LT(tokens[row].token, table.vocabulary());
    table.Read(tokens[row].token, out.Row<float>(row));
  });
}

void CpuLayerOps::AddNorm(TensorView residual,
                          TensorView delta,
                          const NormWeight& weight,
                          float epsilon,
                          TensorView out) {
  const std::vector<float>& w = Own<CpuNorm>(weight).weight();
  const int64_t cols = static_cast<int64_t>(w.size());
  CheckView(residual, step_.num_rows(), cols, DType::kF32);
  if (delta.data != nullptr) CheckView(delta, step_.num_rows(), cols, DType::kF32);
  CheckView(out, step_.num_rows(), cols, out.dtype);
  ForRows(team_, residual.rows, cols, [&](int64_t row) {
    kernels_.add_norm({.residual = residual.Row<float>(row),
                       .delta = delta.data == nullptr ? nullptr : delta.Row<float>(row),
                       .weight = w.data(),
                       .size = cols,
                       .epsilon = epsilon,
                       .out = RowOf(out, row),
                       .dtype = out.dtype});
  });
}

void CpuLayerOps::Linear(TensorView x, const LinearWeight& weight, TensorView out) {
  CHECK_EQ(x.rows, step_.num_rows());
  RunLinear(x, nullptr, x.rows, weight, out);
}

void CpuLayerOps::AddBias(const LinearWeight& weight, TensorView out) {
  const auto& linear = Own<CpuLinear>(weight);
  CheckView(out, step_.num_rows(), linear.out(), DType::kF32);
  const float* const bias = linear.late_bias();
  if (bias == nullptr) return;
  ForRows(team_, out.rows, out.cols, [&](int64_t row) {
    float* const sum = out.Row<float>(row);
    for (int64_t i = 0; i < out.cols; ++i) sum[i] += bias[i];
  });
}

void CpuLayerOps::Logits(TensorView x, const LinearWeight& weight, TensorView out) {
  CHECK_EQ(x.rows, step_.num_rows());
  RunLinear(x, step_.logits_rows(), step_.num_logits_rows(), weight, out);
}

void CpuLayerOps::RunLinear(TensorView x,
                            const int32_t* x_row,
                            int64_t rows,
                            const LinearWeight& weight,
                            TensorView out) {
  if (rows == 0) return;
  const PackedLinear& packed = Own<CpuLinear>(weight).packed();
  const bool fused = packed.epilogue == Epilogue::kSiluMul;
  CheckView(x, x.rows, packed.in, packed.dtype);
  CheckView(out, rows, packed.out, fused ? packed.dtype : DType::kF32);
  LinearArgs args;
  args.weight = &packed;
  args.x = x.data;
  args.x_stride = x.row_stride;
  args.x_row = x_row;
  args.y = out.data;
  args.y_stride = out.row_stride;
  args.rows = rows;
  // Two panels at a time: gate and up stay together.
  const auto part = [&](int64_t begin, int64_t end, int thread) {
    LinearArgs mine = args;
    mine.panel_begin = 2 * begin;
    mine.panel_end = std::min(2 * end, packed.panels);
    mine.scratch = scratch_.Floats(thread, LinearScratchFloats(packed.padded_in) * sizeof(float));
    kernels_.linear(mine);
  };
  const int64_t pairs = (packed.panels + 1) / 2;
  if (rows * packed.padded_in * packed.panels * kPanel < kSmallLinear) return part(0, pairs, 0);
  team_.Split(pairs, part);
}

void CpuLayerOps::RopeAndStoreKv(int layer,
                                 TensorView qkv,
                                 const RopeTable& rope,
                                 KvPool& pool,
                                 TensorView q) {
  const auto& table = Own<CpuRopeTable>(rope);
  const auto& kv = Own<CpuKvPool>(pool);
  CHECK_EQ(&kv, &step_.pool());
  const KvLayout& layout = kv.layout();
  CHECK_LT(layer, layout.num_layers);
  CHECK_LE(2 * table.pairs(), layout.head_dim);
  const int64_t kv_cols = int64_t{layout.num_kv_heads} * layout.head_dim;
  CHECK_EQ(q.cols % layout.head_dim, 0);
  CheckView(q, step_.num_rows(), q.cols, layout.dtype);
  CheckView(qkv, step_.num_rows(), q.cols + 2 * kv_cols, DType::kF32);
  const KvLayerView view = kv.Layer(layer);
  const absl::Span<const StepToken> tokens = step_.tokens();
  ForRows(team_, qkv.rows, qkv.cols, [&](int64_t row) {
    const StepToken& token = tokens[row];
    CHECK_LT(token.position, table.max_position());
    const float* in = qkv.Row<float>(row);
    const RopeArgs args{.in = in,
                        .cos = table.cos(token.position),
                        .sin = table.sin(token.position),
                        .pairs = table.pairs(),
                        .heads = q.cols / layout.head_dim,
                        .head_dim = layout.head_dim,
                        .out = RowOf(q, row),
                        .dtype = layout.dtype};
    kernels_.rope(args);
    const size_t k_offset = layout.KTileOffset(layer, 0);
    const KvPlace place{kv.data(token.block) + k_offset, view.head_bytes, view.v_bytes, token.slot};
    const auto store = layout.dtype == DType::kF32 ? StoreKv<float> : StoreKv<uint16_t>;
    store(place, kernels_, layout, args, in + q.cols, in + q.cols + kv_cols);
  });
}

void CpuLayerOps::Attention(int layer,
                            TensorView q,
                            KvPool& pool,
                            const AttentionSpec& spec,
                            TensorView out) {
  const auto& kv = Own<CpuKvPool>(pool);
  CHECK_EQ(&kv, &step_.pool());
  const KvLayout& layout = kv.layout();
  const int64_t cols = int64_t{spec.num_q_heads} * layout.head_dim;
  CheckView(q, step_.num_rows(), cols, layout.dtype);
  CheckView(out, step_.num_rows(), cols, layout.dtype);
  const AttentionArgs args{.shape = {.num_heads = spec.num_q_heads,
                                     .num_kv_heads = layout.num_kv_heads,
                                     .head_dim = layout.head_dim,
                                     .block_size = layout.block_size,
                                     .scale = spec.scale,
                                     .dtype = layout.dtype},
                           .kv = kv.Layer(layer),
                           .sequences = step_.sequences().data(),
                           .q = q.data,
                           .out = out.data,
                           .q_stride = static_cast<size_t>(q.row_stride),
                           .out_stride = static_cast<size_t>(out.row_stride)};
  const std::vector<AttentionItem>& items = step_.AttentionItems(args.shape);
  team_.ForEach(static_cast<int64_t>(items.size()), [&](int64_t i, int thread) {
    kernels_.attention(args, items[i], scratch_.Floats(thread, kAttentionScratchBytes));
  });
}

void CpuLayerOps::JoinParts(TensorView parts, TensorView out) {
  CHECK(parts.dtype == DType::kF32 && out.dtype == DType::kF32);
  const int64_t ranks = parts.rows / out.rows;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    const int64_t begin = rank * parts.cols;
    const int64_t cols = std::min(parts.cols, out.cols - begin);
    for (int64_t row = 0; row < out.rows; ++row) {
      std::copy_n(parts.Row<float>(rank * out.rows + row), cols, out.Row<float>(row) + begin);
    }
  }
}

}  // namespace pagoda::cpu
