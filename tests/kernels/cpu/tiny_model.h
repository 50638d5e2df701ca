// A two-layer decoder over a Backend, small enough for a naive forward pass beside it.
#pragma once

#include <memory>
#include <vector>

#include "common/check.h"
#include "kernels/backend.h"
#include "tests/kernels/reference.h"

namespace pagoda::testing {

class TinyModel {
 public:
  static constexpr int kHidden = 40, kHeads = 4, kKvHeads = 2, kHeadDim = 16, kInner = 56;
  static constexpr int kVocab = 50, kLayers = 2, kMaxTokens = 64, kMaxLanes = 4, kMaxLen = 400;
  static constexpr float kEpsilon = 1e-5f;

  TinyModel(Backend* backend, DType dtype);

  KvLayout Layout(int block_size) const {
    return {.num_layers = kLayers,
            .num_kv_heads = kKvHeads,
            .head_dim = kHeadDim,
            .block_size = block_size,
            .dtype = dtype_};
  }

  // The body of Run. Logits land in logits().
  absl::Status Forward(LayerOps& ops, const PreparedStep& step, KvPool& pool);
  TensorView logits() const { return logits_; }

  // Logits of the last of `tokens`, in double, from the definition of a decoder.
  std::vector<double> Naive(const std::vector<int32_t>& tokens) const;

 private:
  struct Layer {
    reference::Matrix attention_norm, q, k, v, o, mlp_norm, gate, up, down;
    std::unique_ptr<NormWeight> packed_attention_norm, packed_mlp_norm;
    std::unique_ptr<LinearWeight> packed_qkv, packed_o, packed_gate_up, packed_down;
  };

  reference::Matrix Weight(int64_t rows, int64_t cols, float scale);
  std::unique_ptr<LinearWeight> Pack(const LinearSpec& spec,
                                     const std::vector<const reference::Matrix*>& parts);
  std::unique_ptr<NormWeight> PackNorm(const reference::Matrix& weight);
  TensorView Activation(DType dtype, int64_t rows, int64_t cols);
  void MakeActivations();
  void NaiveAttention(const Layer& layer, std::vector<std::vector<double>>& residual) const;
  void NaiveMlp(const Layer& layer, std::vector<double>& residual) const;

  Backend& backend_;
  const DType dtype_;
  uint64_t seed_ = 100;
  reference::Matrix embedding_, final_norm_, head_;
  std::vector<std::byte> embedding_bytes_;
  std::unique_ptr<EmbeddingWeight> packed_embedding_;
  std::unique_ptr<NormWeight> packed_final_norm_;
  std::unique_ptr<LinearWeight> packed_head_;
  std::unique_ptr<RopeTable> rope_;
  std::vector<double> frequencies_;
  std::vector<Layer> layers_;
  TensorView residual_, delta_, normed_, qkv_, q_, attended_, inner_, logits_;
};

}  // namespace pagoda::testing
