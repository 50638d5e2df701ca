#include "tests/kernels/cpu/tiny_model.h"

#include <cmath>

namespace pagoda::testing {
namespace {

using reference::Matrix;
using Vector = std::vector<double>;

Vector Times(const Matrix& w, const Vector& x) {
  Vector y(w.rows);
  for (int64_t n = 0; n < w.rows; ++n) {
    for (int64_t k = 0; k < w.cols; ++k) y[n] += w.at(n, k) * x[k];
  }
  return y;
}

Vector Norm(const Vector& x, const Matrix& weight) {
  double squares = 0;
  for (double value : x) squares += value * value;
  const double scale = 1 / std::sqrt(squares / x.size() + TinyModel::kEpsilon);
  Vector y(x.size());
  for (size_t i = 0; i < x.size(); ++i) y[i] = x[i] * scale * weight.values[i];
  return y;
}

void Rotate(Vector& heads, int position, const std::vector<double>& frequencies) {
  const size_t half = frequencies.size();
  for (size_t head = 0; head < heads.size(); head += 2 * half) {
    for (size_t d = 0; d < half; ++d) {
      const double angle = position * frequencies[d];
      const double a = heads[head + d], b = heads[head + d + half];
      heads[head + d] = a * std::cos(angle) - b * std::sin(angle);
      heads[head + d + half] = b * std::cos(angle) + a * std::sin(angle);
    }
  }
}

}  // namespace

TinyModel::TinyModel(Backend* backend, DType dtype) : backend_(*backend), dtype_(dtype) {
  embedding_ = Weight(kVocab, kHidden, 1);
  final_norm_ = Weight(1, kHidden, 1);
  head_ = Weight(kVocab, kHidden, 0.3f);
  embedding_bytes_ = reference::Encode(embedding_, dtype_);
  const HostTensor table{embedding_bytes_.data(), dtype_, kVocab, kHidden, kHidden};
  packed_embedding_ = *backend_.PackEmbedding({.dtype = dtype_, .vocab_size = kVocab}, table);
  packed_final_norm_ = PackNorm(final_norm_);
  packed_head_ = Pack({.in = kHidden, .dtype = dtype_}, {&head_});
  for (int i = 0; i < kHeadDim / 2; ++i) frequencies_.push_back(std::pow(100.0, -i / 8.0));
  rope_ = *backend_.MakeRopeTable({.inverse_frequencies = frequencies_, .max_position = kMaxLen});
  for (int i = 0; i < kLayers; ++i) {
    Layer layer;
    layer.attention_norm = Weight(1, kHidden, 1);
    layer.q = Weight(kHeads * kHeadDim, kHidden, 0.3f);
    layer.k = Weight(kKvHeads * kHeadDim, kHidden, 0.3f);
    layer.v = Weight(kKvHeads * kHeadDim, kHidden, 0.3f);
    layer.o = Weight(kHidden, kHeads * kHeadDim, 0.3f);
    layer.mlp_norm = Weight(1, kHidden, 1);
    layer.gate = Weight(kInner, kHidden, 0.3f);
    layer.up = Weight(kInner, kHidden, 0.3f);
    layer.down = Weight(kHidden, kInner, 0.3f);
    layer.packed_attention_norm = PackNorm(layer.attention_norm);
    layer.packed_mlp_norm = PackNorm(layer.mlp_norm);
    layer.packed_qkv = Pack({.in = kHidden, .dtype = dtype_}, {&layer.q, &layer.k, &layer.v});
    layer.packed_o =
        Pack({.in = kHeads * kHeadDim, .dtype = dtype_, .partition = Partition::kRow}, {&layer.o});
    layer.packed_gate_up = Pack({.in = kHidden, .dtype = dtype_, .epilogue = Epilogue::kSiluMul},
                                {&layer.gate, &layer.up});
    layer.packed_down =
        Pack({.in = kInner, .dtype = dtype_, .partition = Partition::kRow}, {&layer.down});
    layers_.push_back(std::move(layer));
  }
  MakeActivations();
}

void TinyModel::MakeActivations() {
  CHECK_OK(backend_.Configure({.max_tokens = kMaxTokens,
                               .max_lanes = kMaxLanes,
                               .max_logits_rows = kMaxTokens,
                               .max_sample_rows = kMaxTokens,
                               .max_model_len = kMaxLen,
                               .vocab_size = kVocab,
                               .num_q_heads = kHeads,
                               .num_kv_heads = kKvHeads,
                               .head_dim = kHeadDim}));
  residual_ = Activation(DType::kF32, kMaxTokens, kHidden);
  delta_ = Activation(DType::kF32, kMaxTokens, kHidden);
  normed_ = Activation(dtype_, kMaxTokens, kHidden);
  qkv_ = Activation(DType::kF32, kMaxTokens, (kHeads + 2 * kKvHeads) * kHeadDim);
  q_ = Activation(dtype_, kMaxTokens, kHeads * kHeadDim);
  attended_ = Activation(dtype_, kMaxTokens, kHeads * kHeadDim);
  inner_ = Activation(dtype_, kMaxTokens, kInner);
  logits_ = Activation(DType::kF32, kMaxTokens, kVocab);
}

Matrix TinyModel::Weight(int64_t rows, int64_t cols, float scale) {
  return reference::Random(rows, cols, dtype_, ++seed_, scale);
}

std::unique_ptr<LinearWeight> TinyModel::Pack(const LinearSpec& spec,
                                              const std::vector<const Matrix*>& parts) {
  std::vector<HostTensor> tensors;
  std::vector<std::vector<std::byte>> bytes;
  for (const Matrix* part : parts) {
    bytes.push_back(reference::Encode(*part, dtype_));
    tensors.push_back({bytes.back().data(), dtype_, part->rows, part->cols, part->cols});
  }
  auto linear = backend_.PackLinear(spec, tensors, {});
  CHECK_OK(linear);
  return *std::move(linear);
}

std::unique_ptr<NormWeight> TinyModel::PackNorm(const Matrix& weight) {
  const HostTensor tensor{weight.values.data(), DType::kF32, 1, weight.cols, weight.cols};
  return *backend_.PackNorm(tensor);
}

TensorView TinyModel::Activation(DType dtype, int64_t rows, int64_t cols) {
  return *backend_.NewActivation(dtype, rows, cols);
}

absl::Status TinyModel::Forward(LayerOps& ops, const PreparedStep& step, KvPool& pool) {
  const int64_t n = step.num_rows();
  const auto rows = [&](TensorView view) { return view.Rows(0, n); };
  const AttentionSpec attention{.num_q_heads = kHeads, .scale = 0.25f};
  ops.Embed(*packed_embedding_, rows(residual_));
  TensorView delta;
  for (int i = 0; i < kLayers; ++i) {
    const Layer& layer = layers_[i];
    ops.AddNorm(rows(residual_), delta, *layer.packed_attention_norm, kEpsilon, rows(normed_));
    ops.Linear(rows(normed_), *layer.packed_qkv, rows(qkv_));
    ops.RopeAndStoreKv(i, rows(qkv_), *rope_, pool, rows(q_));
    ops.Attention(i, rows(q_), pool, attention, rows(attended_));
    ops.Linear(rows(attended_), *layer.packed_o, rows(delta_));
    delta = rows(delta_);
    ops.AddNorm(rows(residual_), delta, *layer.packed_mlp_norm, kEpsilon, rows(normed_));
    ops.Linear(rows(normed_), *layer.packed_gate_up, rows(inner_));
    ops.Linear(rows(inner_), *layer.packed_down, rows(delta_));
  }
  ops.AddNorm(rows(residual_), delta, *packed_final_norm_, kEpsilon, rows(normed_));
  ops.Logits(rows(normed_), *packed_head_, logits_.Rows(0, step.num_logits_rows()));
  return absl::OkStatus();
}

std::vector<double> TinyModel::Naive(const std::vector<int32_t>& tokens) const {
  std::vector<Vector> residual;
  for (int32_t token : tokens) {
    residual.emplace_back();
    for (int i = 0; i < kHidden; ++i) residual.back().push_back(embedding_.at(token, i));
  }
  for (const Layer& layer : layers_) {
    NaiveAttention(layer, residual);
    for (Vector& row : residual) NaiveMlp(layer, row);
  }
  return Times(head_, Norm(residual.back(), final_norm_));
}

void TinyModel::NaiveAttention(const Layer& layer, std::vector<Vector>& residual) const {
  std::vector<Vector> q, k, v;
  for (size_t t = 0; t < residual.size(); ++t) {
    const Vector x = Norm(residual[t], layer.attention_norm);
    q.push_back(Times(layer.q, x));
    k.push_back(Times(layer.k, x));
    v.push_back(Times(layer.v, x));
    Rotate(q.back(), static_cast<int>(t), frequencies_);
    Rotate(k.back(), static_cast<int>(t), frequencies_);
  }
  for (size_t t = 0; t < residual.size(); ++t) {
    Vector out(kHeads * kHeadDim);
    for (int head = 0; head < kHeads; ++head) {
      const int at = head * kHeadDim, kv = head / (kHeads / kKvHeads) * kHeadDim;
      Vector weight(t + 1);
      double total = 0;
      for (size_t p = 0; p <= t; ++p) {
        double score = 0;
        for (int d = 0; d < kHeadDim; ++d) score += q[t][at + d] * k[p][kv + d];
        total += weight[p] = std::exp(score * 0.25);
      }
      for (size_t p = 0; p <= t; ++p) {
        for (int d = 0; d < kHeadDim; ++d) out[at + d] += weight[p] / total * v[p][kv + d];
      }
    }
    const Vector delta = Times(layer.o, out);
    for (int i = 0; i < kHidden; ++i) residual[t][i] += delta[i];
  }
}

void TinyModel::NaiveMlp(const Layer& layer, Vector& residual) const {
  const Vector x = Norm(residual, layer.mlp_norm);
  Vector gate = Times(layer.gate, x);
  const Vector up = Times(layer.up, x);
  for (int i = 0; i < kInner; ++i) gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
  const Vector delta = Times(layer.down, gate);
  for (int i = 0; i < kHidden; ++i) residual[i] += delta[i];
}

}  // namespace pagoda::testing
