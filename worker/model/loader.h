// From a model directory to a model ready to run: configuration, weights, fingerprint.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/backend.h"
#include "worker/model/arch.h"
#include "worker/model/model_config.h"
#include "worker/model/sharding.h"
#include "worker/model/weights.h"

namespace pagoda {

struct LoadOptions {
  std::string directory;             // Hugging Face layout
  std::string dtype = "auto";        // auto, bfloat16, float32
  std::string load_format = "auto";  // auto (safetensors), dummy (config.json alone)
  ShardSpec shard;
  std::string backend_kind;         // for the identity: "cpu"
  uint32_t numeric_contract = 0;    // version of kernels/NUMERICS.md, likewise
  uint64_t memory_limit_bytes = 0;  // more than this is refused before reading; 0: no limit
};

struct LoadedModel {
  const ArchSpec* arch = nullptr;
  ModelConfig config;
  DType dtype = DType::kBf16;  // of weights, activations and KV
  ShardSpec shard;
  ModelWeights weights;
  uint64_t bytes_read = 0;  // of tensors
  // Of configuration, dtype, contract, backend and the tensors that are not divided; equal on all
  // ranks of a group and for every size of it.
  uint64_t identity = 0;
  uint64_t divided_hash = 0;  // TensorHashes::divided
  std::string note;           // what the user should know about the dtype; usually empty
};

// INVALID_ARGUMENT for a bad file or option, UNIMPLEMENTED for a model that we do not support,
// NOT_FOUND, RESOURCE_EXHAUSTED beyond the memory limit. Messages name file, field or tensor.
absl::StatusOr<LoadedModel> LoadModel(const LoadOptions& options,
                                      Backend& backend,
                                      LoadProgress progress);

struct DtypeChoice {
  DType dtype;
  std::string note;
};

// `requested` is --dtype; `in_config` what config.json says, maybe nothing; `stored` that of the
// files, used where config.json says nothing. auto keeps bfloat16 and float32; float16 is computed
// in float32, which holds all its values.
absl::StatusOr<DtypeChoice> ResolveDtype(absl::string_view requested,
                                         absl::string_view in_config,
                                         absl::string_view stored);

}  // namespace pagoda
