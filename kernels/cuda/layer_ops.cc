#include "kernels/cuda/layer_ops.h"

#include "common/check.h"
#include "kernels/cuda/row_ops.h"
#include "kernels/cuda/status.h"
#include "kernels/cuda/step_ops.h"
#include "kernels/cuda/weights.h"

namespace pagoda::cuda {
namespace {

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

int32_t Rows(const TensorView& view) { return static_cast<int32_t>(view.rows); }

size_t VBytes(const KvLayout& layout) {
  return layout.VTileOffset(0, 0) - layout.KTileOffset(0, 0);
}

}  // namespace

void CudaLayerOps::Check(cudaError_t error, const char* what) {
  if (error != cudaSuccess && status_.ok()) status_ = ToStatus(error, what);
}

void CudaLayerOps::Embed(const EmbeddingWeight& weight, TensorView out) {
  const auto& table = Own<CudaEmbedding>(weight);
  CheckView(out, step_.num_rows(), table.hidden(), DType::kF32);
  Check(RunEmbed({.rows = step_.arrays().tokens,
                  .lane_tokens = memory_.lane_tokens,
                  .num_rows = Rows(out),
                  .table = table.data(),
                  .dtype = table.spec().dtype,
                  .first_token = static_cast<int32_t>(table.spec().first_token),
                  .tokens = table.tokens(),
                  .hidden = table.hidden(),
                  .out = static_cast<float*>(out.data),
                  .out_stride = out.row_stride},
                 stream_),
        "embedding");
}

void CudaLayerOps::AddNorm(TensorView residual,
                           TensorView delta,
                           const NormWeight& weight,
                           float epsilon,
                           TensorView out) {
  const auto& norm = Own<CudaNorm>(weight);
  CheckView(residual, step_.num_rows(), norm.size(), DType::kF32);
  if (delta.data != nullptr) CheckView(delta, step_.num_rows(), norm.size(), DType::kF32);
  CheckView(out, step_.num_rows(), norm.size(), out.dtype);
  Check(RunAddNorm({.residual = static_cast<float*>(residual.data),
                    .delta = static_cast<const float*>(delta.data),
                    .weight = norm.data(),
                    .out = out.data,
                    .residual_stride = residual.row_stride,
                    .delta_stride = delta.row_stride,
                    .out_stride = out.row_stride,
                    .rows = Rows(out),
                    .size = norm.size(),
                    .epsilon = epsilon,
                    .dtype = out.dtype},
                   stream_),
        "norm");
}

void CudaLayerOps::Linear(TensorView x, const LinearWeight& weight, TensorView out) {
  CHECK_EQ(x.rows, step_.num_rows());
  RunOne(x, nullptr, x.rows, weight, out);
}

void CudaLayerOps::AddBias(const LinearWeight& weight, TensorView out) {
  const auto& linear = Own<CudaLinear>(weight);
  CheckView(out, step_.num_rows(), linear.out(), DType::kF32);
  if (linear.late_bias() == nullptr) return;
  Check(RunAddBias(static_cast<float*>(out.data),
                   out.row_stride,
                   Rows(out),
                   static_cast<int32_t>(out.cols),
                   linear.late_bias(),
                   stream_),
        "bias");
}

void CudaLayerOps::Logits(TensorView x, const LinearWeight& weight, TensorView out) {
  CHECK_EQ(x.rows, step_.num_rows());
  RunOne(x, step_.arrays().logits_rows, step_.num_logits_rows(), weight, out);
}

void CudaLayerOps::JoinParts(TensorView parts, TensorView out) {
  CHECK(parts.dtype == DType::kF32 && out.dtype == DType::kF32);
  CHECK_EQ(parts.rows % out.rows, 0);
  Check(RunJoinParts({.parts = static_cast<const float*>(parts.data),
                      .parts_stride = parts.row_stride,
                      .part = static_cast<int32_t>(parts.cols),
                      .out = static_cast<float*>(out.data),
                      .out_stride = out.row_stride,
                      .rows = Rows(out),
                      .cols = static_cast<int32_t>(out.cols)},
                     stream_),
        "joining logits");
}

void CudaLayerOps::RunOne(TensorView x,
                          const int32_t* x_row,
                          int64_t rows,
                          const LinearWeight& weight,
                          TensorView out) {
  if (rows == 0) return;
  const PackedLinear& packed = Own<CudaLinear>(weight).packed();
  const bool fused = packed.epilogue == Epilogue::kSiluMul;
  CheckView(x, x.rows, packed.in, packed.dtype);
  CheckView(out, rows, packed.out, fused ? packed.dtype : DType::kF32);
  LinearArgs args;
  args.weight = packed;
  args.x = x.data;
  args.x_stride = x.row_stride;
  args.x_row = x_row;
  args.y = out.data;
  args.y_stride = out.row_stride;
  args.rows = static_cast<int32_t>(rows);
  if (memory_.cublas == nullptr || packed.dtype != DType::kBf16) {
    Check(RunLinear(args, stream_), "linear");
  } else if (status_.ok()) {
    status_ = memory_.cublas->Run(args, stream_);
  }
}

void CudaLayerOps::RopeAndStoreKv(int layer,
                                  TensorView qkv,
                                  const RopeTable& rope,
                                  KvPool& pool,
                                  TensorView q) {
  const auto& table = Own<CudaRopeTable>(rope);
  const auto& kv = Own<CudaKvPool>(pool);
  CHECK_EQ(&pool, &step_.flat().pool());
  const KvLayout& layout = kv.layout();
  CHECK_LT(layer, layout.num_layers);
  CHECK_LE(2 * table.pairs(), layout.head_dim);
  for (const StepToken& token : step_.flat().tokens()) {
    CHECK_LT(token.position, table.max_position());
  }
  const int64_t kv_cols = int64_t{layout.num_kv_heads} * layout.head_dim;
  CheckView(q, step_.num_rows(), q.cols, layout.dtype);
  CheckView(qkv, step_.num_rows(), q.cols + 2 * kv_cols, DType::kF32);
  RopeArgs args;
  args.rows = step_.arrays().tokens;
  args.num_rows = Rows(q);
  args.qkv = static_cast<const float*>(qkv.data);
  args.qkv_stride = qkv.row_stride;
  args.cos_sin = table.data();
  args.pairs = table.pairs();
  args.num_heads = static_cast<int32_t>(q.cols / layout.head_dim);
  args.num_kv_heads = layout.num_kv_heads;
  args.head_dim = layout.head_dim;
  args.dtype = layout.dtype;
  args.q = q.data;
  args.q_stride = q.row_stride;
  args.kv = kv.data() + layout.KTileOffset(layer, 0);
  args.head_bytes = layout.TileBytes();
  args.v_bytes = VBytes(layout);
  args.block_bytes = layout.BlockBytes();
  Check(RunRopeAndStoreKv(args, stream_), "RoPE");
}

void CudaLayerOps::Attention(int layer,
                             TensorView q,
                             KvPool& pool,
                             const AttentionSpec& spec,
                             TensorView out) {
  const auto& kv = Own<CudaKvPool>(pool);
  CHECK_EQ(&pool, &step_.flat().pool());
  const KvLayout& layout = kv.layout();
  const int64_t cols = int64_t{spec.num_q_heads} * layout.head_dim;
  CheckView(q, step_.num_rows(), cols, layout.dtype);
  CheckView(out, step_.num_rows(), cols, layout.dtype);
  AttentionArgs args;
  args.shape = {spec.num_q_heads,
                layout.num_kv_heads,
                layout.head_dim,
                layout.block_size,
                spec.scale,
                layout.dtype};
  args.kv = kv.data() + layout.KTileOffset(layer, 0);
  args.head_bytes = layout.TileBytes();
  args.v_bytes = VBytes(layout);
  args.block_bytes = layout.BlockBytes();
  args.sequences = step_.arrays().sequences;
  args.tables = memory_.tables;
  args.folds = step_.arrays().folds;
  args.q = q.data;
  args.q_stride = q.row_stride;
  args.out = out.data;
  args.out_stride = out.row_stride;
  args.workspace = memory_.workspace;
  args.carry = memory_.carry;
  args.max_ctas = memory_.max_ctas;
  Check(RunAttention(args, step_.rounds(), stream_), "attention");
}

}  // namespace pagoda::cuda
