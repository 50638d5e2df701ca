#include "worker/model/sharding.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/check.h"
#include "worker/model/model_config.h"

namespace pagoda {
namespace {

constexpr int64_t kMaxRanks = 8;
// So that every rank has part of it: seven eighths, rounded up, do not reach the end.
constexpr int64_t kMinDividedVocabulary = 64;

// The largest power of two that divides `n` and is no more than kMaxRanks.
int64_t Pieces(int64_t n) {
  int64_t pieces = kMaxRanks;
  while (n % pieces != 0) pieces /= 2;
  return pieces;
}

// `pieces` of `piece` each, divided by rank.
TensorShare Divide(TensorShare::Axis axis,
                   int64_t extent,
                   int64_t piece,
                   int64_t pieces,
                   const ShardSpec& shard) {
  TensorShare share = {.axis = axis, .extent = extent, .piece = piece, .pieces = pieces};
  if (pieces >= shard.size) {
    share.count = pieces / shard.size;
    share.first = shard.rank * share.count;
  } else {
    const int64_t sharers = shard.size / pieces;
    share.first = shard.rank / sharers;
    share.repeated = shard.rank % sharers != 0;
  }
  return share;
}

// Why `size` ranks cannot divide the model; empty if they can.
std::string Obstacle(const ModelConfig& config, int64_t size) {
  if (size == 1) return "";
  if (size < 1 || size > kMaxRanks || (size & (size - 1)) != 0) {
    return "a group has 1, 2, 4 or 8 ranks";
  }
  if (config.num_heads % size != 0) {
    return absl::StrCat("the model has ", config.num_heads, " attention heads");
  }
  const int64_t kv = config.num_kv_heads;
  if (kv % size != 0 && size % kv != 0) return absl::StrCat("the model has ", kv, " KV heads");
  if (config.vocab_size < kMinDividedVocabulary) {
    return absl::StrCat("the vocabulary has ",
                        config.vocab_size,
                        " tokens; several ranks need ",
                        kMinDividedVocabulary);
  }
  for (const int64_t k : {config.num_heads * config.head_dim, config.intermediate_size}) {
    if (KSlices(k) % size == 0) continue;
    return absl::StrCat("a linear of ", k, " inputs has ", KSlices(k), " K-slices");
  }
  return "";
}

}  // namespace

TensorShare ShareWhole(int64_t outputs, const ShardSpec& shard) {
  return Divide(TensorShare::Axis::kOutputs, outputs, outputs, 1, shard);
}

TensorShare ShareOutputs(int64_t outputs, int64_t units, const ShardSpec& shard) {
  CHECK(units % shard.size == 0 || shard.size % units == 0) << units << " units";
  CHECK_EQ(outputs % units, 0);
  const int64_t pieces = Pieces(units);
  return Divide(TensorShare::Axis::kOutputs, outputs, outputs / pieces, pieces, shard);
}

TensorShare ShareInputs(int64_t inputs, const ShardSpec& shard) {
  const int64_t pieces = KSlices(inputs);
  CHECK_EQ(pieces % shard.size, 0);
  return Divide(TensorShare::Axis::kInputs, inputs, inputs / pieces, pieces, shard);
}

TensorShare ShareVocabulary(int64_t vocab_size, const ShardSpec& shard) {
  const int64_t piece = (vocab_size + kMaxRanks - 1) / kMaxRanks;
  return Divide(TensorShare::Axis::kOutputs, vocab_size, piece, kMaxRanks, shard);
}

int64_t ShardUnits(int64_t units, const ShardSpec& shard) {
  return std::max<int64_t>(1, units / shard.size);
}

std::vector<int> ValidGroupSizes(const ModelConfig& config) {
  std::vector<int> sizes;
  for (int size = 1; size <= kMaxRanks; size *= 2) {
    if (Obstacle(config, size).empty()) sizes.push_back(size);
  }
  return sizes;
}

absl::Status CheckShardable(const ModelConfig& config, const ShardSpec& shard) {
  const std::string obstacle = Obstacle(config, shard.size);
  if (!obstacle.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("the model cannot be divided between ",
                                                   shard.size,
                                                   " ranks: ",
                                                   obstacle,
                                                   "; sizes that work: ",
                                                   absl::StrJoin(ValidGroupSizes(config), ", ")));
  }
  if (shard.rank < 0 || shard.rank >= shard.size) {
    return absl::InvalidArgumentError(
        absl::StrCat("rank ", shard.rank, " of ", shard.size, " ranks"));
  }
  return absl::OkStatus();
}

int64_t KSlices(int64_t k) {
  int64_t slices = kMaxRanks;
  while (slices > 1 && k % (32 * slices) != 0) slices /= 2;
  return slices;
}

}  // namespace pagoda
