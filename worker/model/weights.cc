#include "worker/model/weights.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/status.h"

namespace pagoda {
namespace {

float ElementAsF32(const char* at, DType dtype) {
  if (dtype == DType::kF32) {
    float value;
    std::memcpy(&value, at, sizeof(value));
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, at, sizeof(bits));
  return dtype == DType::kBf16 ? Bf16ToF32(bits) : F16ToF32(bits);
}

// A contiguous copy of `source` in `dtype`, kF32 or kBf16.
std::unique_ptr<std::byte[]> CopyAs(const HostTensor& source, DType dtype) {
  CHECK_EQ(source.row_stride, source.cols);
  const int64_t count = source.rows * source.cols;
  auto copy = std::make_unique_for_overwrite<std::byte[]>(count * DTypeSize(dtype));
  if (source.dtype == dtype) {
    std::memcpy(copy.get(), source.data, count * DTypeSize(dtype));
    return copy;
  }
  const char* from = static_cast<const char*>(source.data);
  std::byte* to = copy.get();
  for (int64_t i = 0; i < count; ++i) {
    const float value = ElementAsF32(from, source.dtype);
    const uint16_t rounded = F32ToBf16(value);
    std::memcpy(to,
                dtype == DType::kF32 ? static_cast<const void*>(&value) : &rounded,
                DTypeSize(dtype));
    from += DTypeSize(source.dtype);
    to += DTypeSize(dtype);
  }
  return copy;
}

class Builder {
 public:
  Builder(Backend& backend,
          const ArchSpec& arch,
          const ModelConfig& config,
          DType dtype,
          const ShardSpec& shard,
          TensorSource& source,
          LoadProgress progress)
      : backend_(backend),
        arch_(arch),
        config_(config),
        dtype_(dtype),
        shard_(shard),
        source_(source),
        progress_(progress) {}

  absl::StatusOr<ModelWeights> Build() {
    ModelWeights weights;
    RETURN_IF_ERROR(BuildEnds(&weights));
    for (int64_t i = 0; i < config_.num_layers; ++i) {
      ASSIGN_OR_RETURN(LayerWeights layer, BuildLayer(i));
      weights.layers.push_back(std::move(layer));
    }
    return weights;
  }

 private:
  using LinearOr = absl::StatusOr<std::unique_ptr<LinearWeight>>;

  absl::StatusOr<SourceTensor> Get(absl::string_view name, absl::string_view kind) {
    absl::StatusOr<SourceTensor> tensor = source_.Get(absl::StrCat(name, kind));
    if (tensor.ok()) progress_(source_.bytes_read(), source_.bytes_total());
    return tensor;
  }

  absl::StatusOr<std::unique_ptr<NormWeight>> Norm(const std::string& name) {
    ASSIGN_OR_RETURN(const SourceTensor tensor, Get(name, ".weight"));
    return backend_.PackNorm(tensor.view);
  }

  // The matrices side by side, each rank with its outputs.
  LinearOr Column(int64_t layer,
                  absl::Span<const char* const> patterns,
                  BiasRule bias,
                  Epilogue epilogue) {
    std::vector<SourceTensor> kept;
    std::vector<HostTensor> matrices, biases;
    for (const char* pattern : patterns) {
      const std::string name = LayerName(pattern, layer);
      ASSIGN_OR_RETURN(kept.emplace_back(), Get(name, ".weight"));
      matrices.push_back(kept.back().view);
      if (!HasBias(bias, config_)) continue;
      ASSIGN_OR_RETURN(kept.emplace_back(), Get(name, ".bias"));
      biases.push_back(kept.back().view);
    }
    const LinearSpec spec = {.in = config_.hidden_size,
                             .dtype = dtype_,
                             .partition = Partition::kColumn,
                             .epilogue = epilogue,
                             .tp_size = shard_.size};
    return backend_.PackLinear(spec, matrices, biases);
  }

  // Each rank with its inputs, and with the whole bias.
  LinearOr Row(int64_t layer, const char* pattern, BiasRule bias) {
    const std::string name = LayerName(pattern, layer);
    ASSIGN_OR_RETURN(const SourceTensor matrix, Get(name, ".weight"));
    SourceTensor bias_tensor;
    std::vector<HostTensor> biases;
    if (HasBias(bias, config_)) {
      ASSIGN_OR_RETURN(bias_tensor, Get(name, ".bias"));
      biases.push_back(bias_tensor.view);
    }
    const LinearSpec spec = {.in = matrix.view.cols,
                             .dtype = dtype_,
                             .partition = Partition::kRow,
                             .epilogue = Epilogue::kStore,
                             .tp_size = shard_.size};
    return backend_.PackLinear(spec, absl::MakeConstSpan(&matrix.view, 1), biases);
  }

  absl::StatusOr<LayerWeights> BuildLayer(int64_t i) {
    LayerWeights layer;
    ASSIGN_OR_RETURN(layer.attention_norm, Norm(LayerName(arch_.attention_norm, i)));
    ASSIGN_OR_RETURN(layer.qkv,
                     Column(i, {arch_.q, arch_.k, arch_.v}, arch_.qkv_bias, Epilogue::kStore));
    ASSIGN_OR_RETURN(layer.o, Row(i, arch_.o, arch_.o_bias));
    ASSIGN_OR_RETURN(layer.mlp_norm, Norm(LayerName(arch_.mlp_norm, i)));
    ASSIGN_OR_RETURN(layer.gate_up,
                     Column(i, {arch_.gate, arch_.up}, arch_.mlp_bias, Epilogue::kSiluMul));
    ASSIGN_OR_RETURN(layer.down, Row(i, arch_.down, arch_.mlp_bias));
    return layer;
  }

  // The embedding, the final norm and the lm_head, which may be the embedding.
  absl::Status BuildEnds(ModelWeights* weights) {
    ASSIGN_OR_RETURN(const SourceTensor stored, Get(arch_.embedding, ".weight"));
    weights->embedding_table = CopyAs(stored.view, dtype_);
    HostTensor table = stored.view;
    table.data = weights->embedding_table.get();
    table.dtype = dtype_;
    const EmbeddingSpec embedding = {
        .dtype = dtype_,
        .first_token = ShareVocabulary(config_.vocab_size, shard_).begin(),
        .vocab_size = config_.vocab_size};
    ASSIGN_OR_RETURN(weights->embedding, backend_.PackEmbedding(embedding, table));
    ASSIGN_OR_RETURN(weights->final_norm, Norm(arch_.final_norm));
    SourceTensor untied;
    if (!config_.tie_word_embeddings) {
      ASSIGN_OR_RETURN(untied, Get(arch_.lm_head, ".weight"));
      table = untied.view;
    }
    const LinearSpec spec = {.in = config_.hidden_size, .dtype = dtype_};
    ASSIGN_OR_RETURN(weights->lm_head,
                     backend_.PackLinear(spec, absl::MakeConstSpan(&table, 1), {}));
    return absl::OkStatus();
  }

  Backend& backend_;
  const ArchSpec& arch_;
  const ModelConfig& config_;
  const DType dtype_;
  const ShardSpec shard_;
  TensorSource& source_;
  LoadProgress progress_;
};

}  // namespace

absl::StatusOr<ModelWeights> BuildWeights(Backend& backend,
                                          const ArchSpec& arch,
                                          const ModelConfig& config,
                                          DType dtype,
                                          const ShardSpec& shard,
                                          TensorSource& source,
                                          LoadProgress progress) {
  return Builder(backend, arch, config, dtype, shard, source, progress).Build();
}

}  // namespace pagoda
