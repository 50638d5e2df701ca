#include "worker/model/decoder.h"

#include <cmath>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "common/check.h"
#include "common/status.h"
#include "kernels/comm/communicator.h"
#include "worker/model/rope.h"

namespace pagoda {
namespace {

// Completes a row-parallel linear: every rank's `partial` becomes the sum.
absl::Status AllReduce(Communicator* communicator, TensorView partial) {
  if (communicator == nullptr || communicator->size() == 1) return absl::OkStatus();
  CHECK_EQ(partial.row_stride, partial.cols);
  return communicator->AllReduce(
      absl::MakeSpan(partial.Row<float>(0), static_cast<size_t>(partial.rows * partial.cols)));
}

}  // namespace

Decoder::Activations Decoder::Activations::Rows(int64_t rows) const {
  return {.residual = residual.Rows(0, rows),
          .delta = delta.Rows(0, rows),
          .normed = normed.Rows(0, rows),
          .qkv = qkv.Rows(0, rows),
          .q = q.Rows(0, rows),
          .attention = attention.Rows(0, rows),
          .mlp = mlp.Rows(0, rows)};
}

KvLayout Decoder::MakeKvLayout(int32_t block_size) const {
  const ModelConfig& config = model_.config;
  return {.num_layers = static_cast<int32_t>(config.num_layers),
          .num_kv_heads = static_cast<int32_t>(ShardUnits(config.num_kv_heads, model_.shard)),
          .head_dim = static_cast<int32_t>(config.head_dim),
          .block_size = block_size,
          .dtype = model_.dtype};
}

int32_t Decoder::window() const {
  return model_.arch->sliding_window ? static_cast<int32_t>(model_.config.sliding_window) : 0;
}

absl::Status Decoder::Configure(const StepLimits& limits) {
  CHECK_GT(limits.max_tokens, 0);
  CHECK_GT(limits.max_logits_rows, 0);
  CHECK_GT(limits.max_model_len, 0);
  ASSIGN_OR_RETURN(const int64_t length, ResolveMaxModelLen(model_.config, limits.max_model_len));
  if (rope_ == nullptr || rope_->max_position() < length) {
    const std::vector<double> frequencies =
        InverseFrequencies(model_.config.rope, model_.config.head_dim);
    ASSIGN_OR_RETURN(
        rope_,
        backend_.MakeRopeTable({.inverse_frequencies = frequencies, .max_position = length}));
  }
  RETURN_IF_ERROR(MakeActivations(limits.max_tokens));
  ASSIGN_OR_RETURN(
      logits_,
      backend_.NewActivation(DType::kF32, limits.max_logits_rows, model_.config.vocab_size));
  return absl::OkStatus();
}

absl::Status Decoder::MakeActivations(int64_t rows) {
  const ModelConfig& config = model_.config;
  const int64_t heads = ShardUnits(config.num_heads, model_.shard);
  const int64_t kv_heads = ShardUnits(config.num_kv_heads, model_.shard);
  const int64_t features = ShardUnits(config.intermediate_size, model_.shard);
  struct Buffer {
    TensorView Activations::*view;
    DType dtype;
    int64_t cols;
  };
  const Buffer buffers[] = {
      {&Activations::delta, DType::kF32, config.hidden_size},
      {&Activations::normed, model_.dtype, config.hidden_size},
      {&Activations::qkv, DType::kF32, (heads + 2 * kv_heads) * config.head_dim},
      {&Activations::q, model_.dtype, heads * config.head_dim},
      {&Activations::attention, model_.dtype, heads * config.head_dim},
      {&Activations::mlp, model_.dtype, features},
      {&Activations::residual, DType::kF32, config.hidden_size},
  };
  for (const Buffer& buffer : buffers) {
    ASSIGN_OR_RETURN(buffers_.*buffer.view,
                     backend_.NewActivation(buffer.dtype, rows, buffer.cols));
  }
  return absl::OkStatus();
}

absl::Status Decoder::Forward(LayerOps& ops,
                              int64_t rows,
                              int64_t logits_rows,
                              KvPool& pool,
                              Communicator* communicator) {
  CHECK_LE(rows, buffers_.residual.rows);
  CHECK_LE(logits_rows, logits_.rows);
  const ModelConfig& config = model_.config;
  const ModelWeights& weights = model_.weights;
  const Activations a = buffers_.Rows(rows);
  const AttentionSpec spec = {
      .num_q_heads = static_cast<int32_t>(ShardUnits(config.num_heads, model_.shard)),
      .scale = static_cast<float>(1 / std::sqrt(static_cast<double>(config.head_dim)))};
  ops.Embed(*weights.embedding, a.residual);
  for (int layer = 0; layer < config.num_layers; ++layer) {
    RETURN_IF_ERROR(ForwardLayer(ops, layer, a, spec, pool, communicator));
  }
  if (logits_rows == 0) return absl::OkStatus();
  ops.AddNorm(a.residual, a.delta, *weights.final_norm, Epsilon(), a.normed);
  ops.Logits(a.normed, *weights.lm_head, Logits(logits_rows));
  return absl::OkStatus();
}

absl::Status Decoder::ForwardLayer(LayerOps& ops,
                                   int layer,
                                   const Activations& a,
                                   const AttentionSpec& spec,
                                   KvPool& pool,
                                   Communicator* communicator) {
  const LayerWeights& w = model_.weights.layers[layer];
  // A block's output joins the residual in the norm that follows it.
  const TensorView delta = layer == 0 ? TensorView{} : a.delta;
  ops.AddNorm(a.residual, delta, *w.attention_norm, Epsilon(), a.normed);
  ops.Linear(a.normed, *w.qkv, a.qkv);
  ops.RopeAndStoreKv(layer, a.qkv, *rope_, pool, a.q);
  ops.Attention(layer, a.q, pool, spec, a.attention);
  ops.Linear(a.attention, *w.o, a.delta);
  RETURN_IF_ERROR(AllReduce(communicator, a.delta));
  ops.AddNorm(a.residual, a.delta, *w.mlp_norm, Epsilon(), a.normed);
  ops.Linear(a.normed, *w.gate_up, a.mlp);
  ops.Linear(a.mlp, *w.down, a.delta);
  return AllReduce(communicator, a.delta);
}

}  // namespace pagoda
