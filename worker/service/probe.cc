#include "worker/service/probe.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/limits.h"
#include "common/status.h"
#include "worker/model/arch.h"
#include "worker/model/loader.h"
#include "worker/model/memory_report.h"
#include "worker/model/model_config.h"
#include "worker/model/tensor_source.h"

namespace pagoda {
namespace {

// What `serve` takes without flags.
constexpr int32_t kBlockSize = 16;
constexpr int32_t kMaxSequences = 256;
constexpr int32_t kMaxStepTokens = 2048;

std::string Bytes(uint64_t bytes) {
  constexpr double kMiB = 1 << 20;
  const double size = static_cast<double>(bytes);
  if (size >= kMiB * 1024) return absl::StrFormat("%.1f GiB", size / kMiB / 1024);
  return absl::StrFormat("%.1f MiB", size / kMiB);
}

void Line(absl::string_view name, absl::string_view value, std::string* text) {
  absl::StrAppend(text, absl::StrFormat("%-14s %s\n", name, value));
}

void DescribeDevice(const Backend& device, std::string* text) {
  for (const auto& [name, value] : device.info().facts) Line(name, value, text);
  Line("device", absl::StrCat(device.info().description, "; limit: ", CpuLimit(), " CPUs"), text);
  const DeviceMemory memory = device.memory();
  Line("memory",
       absl::StrCat(Bytes(memory.available), " available of ", Bytes(memory.total)),
       text);
}

uint64_t Parameters(const ArchSpec& arch, const ModelConfig& config) {
  uint64_t total = 0;
  for (const TensorNeed& tensor : NeededTensors(arch, config)) {
    uint64_t elements = 1;
    for (int64_t extent : tensor.shape) elements *= static_cast<uint64_t>(extent);
    total += elements;
  }
  return total;
}

void DescribeModel(const ArchSpec& arch,
                   const ModelConfig& config,
                   DType chosen,
                   std::string* text) {
  Line("model",
       absl::StrCat(config.architecture,
                    ", ",
                    config.num_layers,
                    " layers, vocabulary ",
                    config.vocab_size,
                    ", up to ",
                    config.max_position_embeddings,
                    " tokens"),
       text);
  Line("parameters", absl::StrCat(Parameters(arch, config)), text);
  for (DType dtype : {DType::kBf16, DType::kF32}) {
    const MemoryReport report = EstimateMemory(arch, config, dtype);
    Line(DTypeName(dtype),
         absl::StrCat(Bytes(report.weight_bytes),
                      " of weights, ",
                      report.kv_bytes_per_token,
                      " bytes of KV per token",
                      dtype == chosen ? "; in use" : ""),
         text);
  }
  for (const int size : ValidGroupSizes(config)) {
    const MemoryReport rank = EstimateMemory(arch, config, chosen, {.rank = 0, .size = size});
    Line(absl::StrCat("on ", size, size == 1 ? " rank" : " ranks"),
         absl::StrCat(size == 1 ? "" : "each ",
                      Bytes(rank.weight_bytes),
                      " of weights, ",
                      rank.kv_bytes_per_token,
                      " bytes of KV per token"),
         text);
  }
}

// Whether weights and pool fit, as without flags: no more than all sequences at full length need.
bool DescribeFit(const MemoryReport& report,
                 const ModelConfig& config,
                 const Backend& device,
                 std::string* text) {
  const uint64_t available = device.memory().available;
  if (report.weight_bytes > available) {
    Line("fits", absl::StrCat("no: ", Bytes(report.weight_bytes - available), " too little"), text);
    return false;
  }
  const StepLimits limits = {.max_tokens = kMaxStepTokens,
                             .max_lanes = kMaxSequences,
                             .max_logits_rows = kMaxSequences,
                             .max_sample_rows = kMaxSequences,
                             .max_model_len = static_cast<int32_t>(config.max_position_embeddings),
                             .block_size = kBlockSize,
                             .vocab_size = static_cast<int32_t>(config.vocab_size),
                             .num_q_heads = static_cast<int32_t>(config.num_heads),
                             .num_kv_heads = static_cast<int32_t>(config.num_kv_heads),
                             .head_dim = static_cast<int32_t>(config.head_dim)};
  const uint64_t block_bytes = report.kv_bytes_per_token * kBlockSize;
  const uint64_t longest = static_cast<uint64_t>(config.max_position_embeddings);
  const uint64_t wanted = kMaxSequences * ((longest + kBlockSize - 1) / kBlockSize);
  const uint64_t blocks =
      std::min(device.PoolMemory(limits, report.weight_bytes) / block_bytes, wanted);
  Line("kv pool",
       absl::StrCat(blocks, " blocks of ", kBlockSize, " tokens, ", Bytes(blocks * block_bytes)),
       text);
  Line("kv tokens", absl::StrCat(blocks * kBlockSize), text);
  Line("fits", blocks > 0 ? "yes" : "no: no memory is left for a KV block", text);
  return blocks > 0;
}

}  // namespace

absl::StatusOr<ProbeReport> Probe(const ProbeOptions& options) {
  ProbeReport report;
  ASSIGN_OR_RETURN(const std::unique_ptr<Backend> device, options.device(0));
  DescribeDevice(*device, &report.text);
  if (options.model.empty()) {
    report.fits = true;
    return report;
  }
  ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(options.model));
  ASSIGN_OR_RETURN(const ArchSpec* arch, FindArch(config.architecture));
  ASSIGN_OR_RETURN(const std::unique_ptr<TensorSource> source,
                   OpenCheckpointSource(options.model, *arch, config));
  ASSIGN_OR_RETURN(const DtypeChoice choice,
                   ResolveDtype("auto", config.dtype, source->stored_dtype()));
  DescribeModel(*arch, config, choice.dtype, &report.text);
  if (!choice.note.empty()) Line("note", choice.note, &report.text);
  report.fits =
      DescribeFit(EstimateMemory(*arch, config, choice.dtype), config, *device, &report.text);
  return report;
}

}  // namespace pagoda
