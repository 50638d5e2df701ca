// How the ranks of a group divide a weight. Slices are views of the whole tensor; nothing is
// copied.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/tensor.h"

namespace pagoda {

struct ModelConfig;

struct ShardSpec {
  int32_t rank = 0;
  int32_t size = 1;  // ranks of the group, a power of two
};

// Rows of a column-parallel weight (or elements of its bias, with rows == 1): `units` equal ones,
// heads or single features, divided by rank. With fewer units than ranks, size / units neighbours
// hold the same unit (KV heads). REQUIRES: one of units, size divides the other, and the outputs.
HostTensor ShardOutputs(const HostTensor& whole, int64_t units, const ShardSpec& shard);

// Columns of a row-parallel weight: the rank's run of K-slices. REQUIRES: size divides the columns.
HostTensor ShardInputs(const HostTensor& whole, const ShardSpec& shard);

// Units that one rank holds: at least 1.
int64_t ShardUnits(int64_t units, const ShardSpec& shard);

// InvalidArgument when the model cannot be divided so that every size gives the same bits: heads,
// and the K-slices of both row-parallel linears, must divide by the size.
absl::Status CheckShardable(const ModelConfig& config, const ShardSpec& shard);

// K-slices of a row-parallel linear with `k` inputs (kernels/NUMERICS.md).
int64_t KSlices(int64_t k);

}  // namespace pagoda
