#include "worker/model/loader.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/hash.h"
#include "common/status.h"
#include "worker/model/memory_report.h"
#include "worker/model/safetensors.h"
#include "worker/model/tensor_source.h"

namespace pagoda {
namespace {

absl::StatusOr<std::unique_ptr<TensorSource>> OpenSource(const LoadOptions& options,
                                                         const LoadedModel& model) {
  if (options.load_format == "dummy") {
    return MakeDummySource(*model.arch, model.config, options.shard);
  }
  if (options.load_format != "auto") {
    return absl::InvalidArgumentError(absl::StrCat("--load-format is ",
                                                   QuotedName(options.load_format),
                                                   ", expected auto or dummy"));
  }
  return OpenCheckpointSource(options.directory, *model.arch, model.config, options.shard);
}

absl::Status CheckMemory(const LoadOptions& options, const LoadedModel& model) {
  const uint64_t share =
      EstimateMemory(*model.arch, model.config, model.dtype, options.shard).weight_bytes;
  if (options.memory_limit_bytes == 0 || share <= options.memory_limit_bytes) {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(absl::StrCat("the weights of ",
                                                   options.directory,
                                                   " need ",
                                                   share,
                                                   " bytes in ",
                                                   DTypeName(model.dtype),
                                                   ", ",
                                                   options.memory_limit_bytes,
                                                   " are available"));
}

uint64_t Identity(const LoadOptions& options, const LoadedModel& model, uint64_t tensors) {
  return Hash64(absl::StrCat(CanonicalConfig(model.config),
                             " ",
                             DTypeName(model.dtype),
                             " ",
                             options.backend_kind,
                             " ",
                             options.numeric_contract),
                tensors);
}

}  // namespace

absl::StatusOr<DtypeChoice> ResolveDtype(absl::string_view requested,
                                         absl::string_view in_config,
                                         absl::string_view stored) {
  if (requested == "bfloat16") return DtypeChoice{DType::kBf16, ""};
  if (requested == "float32") return DtypeChoice{DType::kF32, ""};
  if (requested != "auto") {
    return absl::InvalidArgumentError(
        absl::StrCat("--dtype is ", QuotedName(requested), ", expected auto, bfloat16 or float32"));
  }
  const absl::string_view name = in_config.empty() ? stored : in_config;
  if (name == "bfloat16") return DtypeChoice{DType::kBf16, ""};
  if (name == "float32") return DtypeChoice{DType::kF32, ""};
  if (name == "float16") {
    return DtypeChoice{DType::kF32,
                       "float16 weights are computed in float32, which is exact; --dtype bfloat16 "
                       "halves their memory"};
  }
  return absl::InvalidArgumentError(
      absl::StrCat("config.json: field \"dtype\" is ",
                   QuotedName(name),
                   ", expected bfloat16, float32 or float16; --dtype chooses another one"));
}

absl::StatusOr<LoadedModel> LoadModel(const LoadOptions& options,
                                      Backend& backend,
                                      LoadProgress progress) {
  LoadedModel model;
  ASSIGN_OR_RETURN(model.config, ReadModelConfig(options.directory));
  ASSIGN_OR_RETURN(model.arch, FindArch(model.config.architecture));
  RETURN_IF_ERROR(CheckShardable(model.config, options.shard));
  model.shard = options.shard;
  ASSIGN_OR_RETURN(const std::unique_ptr<TensorSource> source, OpenSource(options, model));
  ASSIGN_OR_RETURN(DtypeChoice choice,
                   ResolveDtype(options.dtype, model.config.dtype, source->stored_dtype()));
  model.dtype = choice.dtype;
  model.note = std::move(choice.note);
  RETURN_IF_ERROR(CheckMemory(options, model));
  ASSIGN_OR_RETURN(model.weights,
                   BuildWeights(backend,
                                *model.arch,
                                model.config,
                                model.dtype,
                                model.shard,
                                *source,
                                progress));
  ASSIGN_OR_RETURN(const TensorHashes tensors, source->Finish());
  model.bytes_read = source->bytes_read();
  model.identity = Identity(options, model, tensors.whole);
  model.divided_hash = tensors.divided;
  return model;
}

}  // namespace pagoda
