#include "worker/model/decoder.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "common/check.h"
#include "common/status.h"
#include "kernels/comm/communicator.h"
#include "worker/model/rope.h"

namespace pagoda {
namespace {

// All rows of an f32 buffer as one run of T, padding between rows included: it holds zeros.
template <class T>
absl::Span<T> Flat(TensorView view) {
  return {static_cast<T*>(view.data),
          static_cast<size_t>(view.rows * view.row_stride) * sizeof(float) / sizeof(T)};
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
  for (const Buffer& buffer : Buffers(limits)) {
    ASSIGN_OR_RETURN(buffers_.*buffer.view,
                     backend_.NewActivation(buffer.dtype, buffer.rows, buffer.cols));
  }
  return absl::OkStatus();
}

std::vector<Decoder::Buffer> Decoder::Buffers(const StepLimits& limits) const {
  const ModelConfig& config = model_.config;
  const int64_t heads = ShardUnits(config.num_heads, model_.shard);
  const int64_t kv_heads = ShardUnits(config.num_kv_heads, model_.shard);
  const int64_t features = ShardUnits(config.intermediate_size, model_.shard);
  const int64_t rows = limits.max_tokens;
  const int64_t logits_rows = limits.max_logits_rows;
  std::vector<Buffer> buffers = {
      {&Activations::delta, DType::kF32, rows, config.hidden_size},
      {&Activations::normed, model_.dtype, rows, config.hidden_size},
      {&Activations::qkv, DType::kF32, rows, (heads + 2 * kv_heads) * config.head_dim},
      {&Activations::q, model_.dtype, rows, heads * config.head_dim},
      {&Activations::attention, model_.dtype, rows, heads * config.head_dim},
      {&Activations::mlp, model_.dtype, rows, features},
      {&Activations::residual, DType::kF32, rows, config.hidden_size},
  };
  if (is_first())
    buffers.push_back({&Activations::logits, DType::kF32, logits_rows, config.vocab_size});
  if (group_size() == 1) return buffers;
  // As many as the first rank has; the last may have fewer.
  const int64_t part =
      ShareVocabulary(config.vocab_size, {.rank = 0, .size = model_.shard.size}).size();
  buffers.push_back({&Activations::own_logits, DType::kF32, logits_rows, part});
  if (is_first()) {
    buffers.push_back({&Activations::all_logits, DType::kF32, logits_rows * group_size(), part});
  }
  return buffers;
}

uint64_t Decoder::ActivationBytes(const StepLimits& limits) const {
  constexpr int64_t kRowPadding = 64;  // elements at most, of any backend
  uint64_t bytes = 0, largest = 0;
  for (const Buffer& buffer : Buffers(limits)) {
    const uint64_t more =
        static_cast<uint64_t>(buffer.rows * (buffer.cols + kRowPadding)) * DTypeSize(buffer.dtype);
    bytes += more;
    largest = std::max(largest, more);
  }
  // What comes from other ranks is held beside what goes to them.
  if (group_size() > 1) bytes += largest;
  if (rope_ != nullptr && rope_->max_position() >= limits.max_model_len) return bytes;
  return bytes + sizeof(float) * limits.max_model_len * model_.config.head_dim;
}

absl::Status Decoder::Forward(LayerOps& ops,
                              int64_t rows,
                              int64_t logits_rows,
                              KvPool& pool,
                              Communicator& comm) {
  CHECK_LE(rows, buffers_.residual.rows);
  CHECK_EQ(comm.size(), group_size());
  const ModelConfig& config = model_.config;
  const ModelWeights& weights = model_.weights;
  const Activations a = buffers_.Rows(rows);
  const AttentionSpec spec = {
      .num_q_heads = static_cast<int32_t>(ShardUnits(config.num_heads, model_.shard)),
      .scale = static_cast<float>(1 / std::sqrt(static_cast<double>(config.head_dim)))};
  ops.Embed(*weights.embedding, a.residual);
  if (group_size() > 1) RETURN_IF_ERROR(comm.AllMerge(Flat<uint32_t>(a.residual)));
  for (int layer = 0; layer < config.num_layers; ++layer) {
    RETURN_IF_ERROR(ForwardLayer(ops, layer, a, spec, pool, comm));
  }
  if (logits_rows == 0) return absl::OkStatus();
  ops.AddNorm(a.residual, a.delta, *weights.final_norm, Epsilon(), a.normed);
  return ForwardLogits(ops, a.normed, logits_rows, comm);
}

absl::Status Decoder::ForwardLogits(LayerOps& ops, TensorView x, int64_t rows, Communicator& comm) {
  const LinearWeight& lm_head = *model_.weights.lm_head;
  if (group_size() == 1) {
    ops.Logits(x, lm_head, Logits(rows));
    return absl::OkStatus();
  }
  TensorView own = buffers_.own_logits.Rows(0, rows);
  const TensorView sent = own;
  own.cols = lm_head.out();
  ops.Logits(x, lm_head, own);
  const TensorView all =
      is_first() ? buffers_.all_logits.Rows(0, rows * group_size()) : TensorView{};
  RETURN_IF_ERROR(comm.Gather(Flat<const std::byte>(sent), Flat<std::byte>(all), 0));
  if (is_first()) ops.JoinParts(all, Logits(rows));
  return absl::OkStatus();
}

absl::Status Decoder::RowLinear(LayerOps& ops,
                                TensorView x,
                                const LinearWeight& weight,
                                TensorView out,
                                Communicator& comm) {
  ops.Linear(x, weight, out);
  if (group_size() == 1) return absl::OkStatus();
  RETURN_IF_ERROR(comm.AllReduce(Flat<float>(out)));
  ops.AddBias(weight, out);
  return absl::OkStatus();
}

absl::Status Decoder::ForwardLayer(LayerOps& ops,
                                   int layer,
                                   const Activations& a,
                                   const AttentionSpec& spec,
                                   KvPool& pool,
                                   Communicator& comm) {
  const LayerWeights& w = model_.weights.layers[layer];
  // A block's output joins the residual in the norm that follows it.
  const TensorView delta = layer == 0 ? TensorView{} : a.delta;
  ops.AddNorm(a.residual, delta, *w.attention_norm, Epsilon(), a.normed);
  ops.Linear(a.normed, *w.qkv, a.qkv);
  ops.RopeAndStoreKv(layer, a.qkv, *rope_, pool, a.q);
  ops.Attention(layer, a.q, pool, spec, a.attention);
  RETURN_IF_ERROR(RowLinear(ops, a.attention, *w.o, a.delta, comm));
  ops.AddNorm(a.residual, a.delta, *w.mlp_norm, Epsilon(), a.normed);
  ops.Linear(a.normed, *w.gate_up, a.mlp);
  return RowLinear(ops, a.mlp, *w.down, a.delta, comm);
}

}  // namespace pagoda
