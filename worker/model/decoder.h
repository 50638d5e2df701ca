// The one decoder: the forward pass of every architecture, as layer operations of a backend. It
// owns the loaded model, the activation buffers and the RoPE table; KV pools belong to the runner.
// One thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "kernels/backend.h"
#include "kernels/kv_layout.h"
#include "worker/model/loader.h"

namespace pagoda {

class Communicator;

class Decoder {
 public:
  // `backend` must outlive this.
  Decoder(Backend& backend, LoadedModel model) : backend_(backend), model_(std::move(model)) {}

  const LoadedModel& model() const { return model_; }

  // What the pool of this rank must look like.
  KvLayout MakeKvLayout(int32_t block_size) const;

  // Tokens that a query sees, itself included; 0 for all: SequenceInput::window.
  int32_t window() const;

  // Lays out the buffers of an epoch. Call after each Backend::Configure, which takes the old ones,
  // with the same limits; the RoPE table is kept when it is long enough. InvalidArgument when
  // max_model_len is beyond the model's.
  absl::Status Configure(const StepLimits& limits);

  // That Configure and an exchange between ranks will take of the backend, at most.
  uint64_t ActivationBytes(const StepLimits& limits) const;

  // The body of Backend::Run for one step over `pool`: `rows` tokens, `logits_rows` rows of logits.
  // Errors are those of the communicator. REQUIRES: within the limits of Configure.
  absl::Status Forward(LayerOps& ops,
                       int64_t rows,
                       int64_t logits_rows,
                       KvPool& pool,
                       Communicator& comm);

  // f32 [logits_rows, vocabulary], written by Forward; on rank 0.
  TensorView Logits(int64_t logits_rows) const { return buffers_.logits.Rows(0, logits_rows); }

 private:
  // The buffers of a step; it uses their first rows.
  struct Activations {
    TensorView residual;   // f32 [rows, hidden]
    TensorView delta;      // f32 [rows, hidden]: what a block adds to the residual
    TensorView normed;     // [rows, hidden] in the model's dtype
    TensorView qkv;        // f32 [rows, (heads + 2 kv heads) * head_dim]
    TensorView q;          // [rows, heads * head_dim]
    TensorView attention;  // [rows, heads * head_dim]
    TensorView mlp;        // [rows, intermediate]
    // Of the step's logits rows, at most max_logits_rows.
    TensorView logits;  // f32 [logits rows, vocabulary]; rank 0
    // With several ranks: f32 [logits rows, tokens of a rank], and on rank 0 every rank's.
    TensorView own_logits;
    TensorView all_logits;

    // But for those of logits rows.
    Activations Rows(int64_t rows) const;
  };
  struct Buffer {
    TensorView Activations::*view;
    DType dtype;
    int64_t rows;
    int64_t cols;
  };

  std::vector<Buffer> Buffers(const StepLimits& limits) const;
  absl::Status ForwardLayer(LayerOps& ops,
                            int layer,
                            const Activations& a,
                            const AttentionSpec& spec,
                            KvPool& pool,
                            Communicator& comm);
  // The row-parallel linear, completed over all ranks, in a.delta.
  absl::Status RowLinear(LayerOps& ops,
                         TensorView x,
                         const LinearWeight& weight,
                         TensorView out,
                         Communicator& comm);
  // Each rank computes the logits of its tokens; rank 0 puts the rows together.
  absl::Status ForwardLogits(LayerOps& ops, TensorView x, int64_t rows, Communicator& comm);

  int64_t group_size() const { return model_.shard.size; }
  bool is_first() const { return model_.shard.rank == 0; }

  float Epsilon() const { return static_cast<float>(model_.config.norm_eps); }

  Backend& backend_;
  LoadedModel model_;
  std::unique_ptr<RopeTable> rope_;
  Activations buffers_;  // of max_tokens rows
};

}  // namespace pagoda
