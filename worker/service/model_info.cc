#include "worker/service/model_info.h"

#include <algorithm>
#include <limits>

#include "kernels/dtype.h"
#include "worker/model/memory_report.h"

namespace pagoda {
namespace {

v1::GenerationDefaults MakeDefaults(const SamplingDefaults& from) {
  v1::GenerationDefaults to;
  if (from.temperature.has_value()) to.set_temperature(static_cast<float>(*from.temperature));
  if (from.top_p.has_value()) to.set_top_p(static_cast<float>(*from.top_p));
  if (from.min_p.has_value()) to.set_min_p(static_cast<float>(*from.min_p));
  if (from.top_k.has_value()) {
    // More than any vocabulary has means all.
    constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
    to.set_top_k(static_cast<int32_t>(std::clamp<int64_t>(*from.top_k, -1, kMost)));
  }
  return to;
}

}  // namespace

v1::ModelInfo MakeModelInfo(const Runner& runner) {
  const LoadedModel& model = runner.model();
  const ModelConfig& config = model.config;
  v1::ModelInfo info;
  info.set_architecture(config.architecture);
  info.set_dtype(DTypeName(model.dtype));
  info.set_vocab_size(static_cast<uint32_t>(config.vocab_size));
  info.set_max_position_embeddings(static_cast<uint32_t>(config.max_position_embeddings));
  info.set_num_layers(static_cast<uint32_t>(config.num_layers));
  info.set_weight_bytes(EstimateMemory(*model.arch, config, model.dtype, model.shard).weight_bytes);
  info.set_kv_bytes_per_token(runner.kv_bytes_per_token());
  info.set_identity(model.identity);
  info.set_divided_hash(model.divided_hash);
  info.set_numeric_contract(kNumericContract);
  for (int32_t id : config.eos_token_ids) info.add_eos_token_ids(static_cast<uint32_t>(id));
  *info.mutable_defaults() = MakeDefaults(config.sampling);
  return info;
}

}  // namespace pagoda
