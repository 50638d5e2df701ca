// How the ranks of a group divide a model: heads, features, K-slices and the vocabulary.
//
// A tensor that is divided consists of equal pieces along one dimension, as many as the largest
// group could take; a rank holds a run of whole pieces. Pieces depend on the model alone, so what
// is hashed piece by piece has the same hash however many ranks there are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace pagoda {

struct ModelConfig;

struct ShardSpec {
  int32_t rank = 0;
  int32_t size = 1;  // ranks of the group: 1, 2, 4 or 8
};

// The part of a tensor that a rank holds: pieces [first, first + count) of `pieces`.
struct TensorShare {
  enum class Axis : uint8_t { kOutputs, kInputs };  // rows (elements of a vector), or columns

  Axis axis = Axis::kOutputs;
  int64_t extent = 0;  // of the whole tensor along the axis
  int64_t piece = 0;   // of one piece; the last ones may be short or empty
  int64_t pieces = 1;
  int64_t first = 0;
  int64_t count = 1;
  bool repeated = false;  // a lower rank holds the same

  // Every rank holds it whole, whatever the size of the group.
  bool whole() const { return pieces == 1; }
  // Along the axis: [begin, end).
  int64_t begin() const { return PieceBegin(first); }
  int64_t end() const { return PieceBegin(first + count); }
  int64_t size() const { return end() - begin(); }
  int64_t PieceBegin(int64_t i) const { return i * piece < extent ? i * piece : extent; }
};

TensorShare ShareWhole(int64_t outputs, const ShardSpec& shard);

// Outputs of a column-parallel weight, or its bias: `units` equal ones (heads, features). With
// fewer units than ranks, size / units neighbours hold the same unit (KV heads). REQUIRES: one of
// units and size divides the other; units divide the outputs.
TensorShare ShareOutputs(int64_t outputs, int64_t units, const ShardSpec& shard);

// Inputs of a row-parallel weight, by whole K-slices. REQUIRES: size divides the K-slices.
TensorShare ShareInputs(int64_t inputs, const ShardSpec& shard);

// Rows of the embedding and of the lm_head: eighths of the vocabulary, rounded up.
TensorShare ShareVocabulary(int64_t vocab_size, const ShardSpec& shard);

// Units that one rank holds: at least 1.
int64_t ShardUnits(int64_t units, const ShardSpec& shard);

// Sizes of groups that can divide the model so that all give the same bits: heads, KV heads and the
// K-slices of both row-parallel linears must divide.
std::vector<int> ValidGroupSizes(const ModelConfig& config);

// INVALID_ARGUMENT, naming the valid sizes, for any other.
absl::Status CheckShardable(const ModelConfig& config, const ShardSpec& shard);

// K-slices of a row-parallel linear with `k` inputs (kernels/NUMERICS.md).
int64_t KSlices(int64_t k);

}  // namespace pagoda
