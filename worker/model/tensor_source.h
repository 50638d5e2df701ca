// Where a model's tensors come from: a checkpoint's files, or a counter-based random function
// (--load-format dummy). One thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "kernels/tensor.h"
#include "worker/model/arch.h"

namespace pagoda {

struct ModelConfig;

// The rank's share of a tensor. The view stays valid as long as both this and the source.
struct SourceTensor {
  HostTensor view;                   // a vector has rows == 1
  std::unique_ptr<float[]> storage;  // empty when the view is of a mapped file
};

// Hashes of what was read, whatever the order.
struct TensorHashes {
  uint64_t whole = 0;    // of the tensors that every rank reads whole; equal on all ranks
  uint64_t divided = 0;  // of the pieces that no lower rank holds: the exclusive or over all ranks
                         // is that of the whole model on one rank
};

// Reads no byte that the rank does not need.
class TensorSource {
 public:
  virtual ~TensorSource() = default;

  // REQUIRES: `name` is a needed tensor's.
  virtual absl::StatusOr<SourceTensor> Get(const std::string& name) = 0;

  virtual uint64_t bytes_total() const = 0;  // of the rank's shares as stored
  virtual uint64_t bytes_read() const = 0;   // by Get so far

  // After the last Get. FailedPrecondition when a file changed meanwhile.
  virtual absl::StatusOr<TensorHashes> Finish() = 0;

  // How config.json would spell the dtype of the embedding: "bfloat16".
  virtual std::string stored_dtype() const = 0;
};

// Opens DIR's checkpoint and compares it with what the model needs: InvalidArgument names missing,
// unexpected and misshapen tensors and those that hold no bf16, f16 or f32. With tied embeddings
// the table may be stored under the name of the lm_head.
absl::StatusOr<std::unique_ptr<TensorSource>> OpenCheckpointSource(const std::string& directory,
                                                                   const ArchSpec& arch,
                                                                   const ModelConfig& config,
                                                                   const ShardSpec& shard = {});

// Element i of a tensor depends on (name, i) alone. Linears and embeddings are uniform with
// variance 1 / columns, which keeps activations near 1; norms lie in [0.9, 1.1), biases in [-0.1,
// 0.1).
std::unique_ptr<TensorSource> MakeDummySource(const ArchSpec& arch,
                                              const ModelConfig& config,
                                              const ShardSpec& shard = {});

}  // namespace pagoda
