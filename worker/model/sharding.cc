#include "worker/model/sharding.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "worker/model/model_config.h"

namespace pagoda {

int64_t ShardUnits(int64_t units, const ShardSpec& shard) {
  return std::max<int64_t>(1, units / shard.size);
}

HostTensor ShardOutputs(const HostTensor& whole, int64_t units, const ShardSpec& shard) {
  CHECK(units % shard.size == 0 || shard.size % units == 0) << units << " units";
  const bool vector = whole.rows == 1;
  const int64_t outputs = vector ? whole.cols : whole.rows;
  CHECK_EQ(outputs % units, 0);
  const int64_t count = ShardUnits(units, shard);
  const int64_t first =
      units >= shard.size ? shard.rank * count : shard.rank / (shard.size / units);
  const int64_t per_unit = outputs / units;
  const int64_t skip = first * per_unit * (vector ? 1 : whole.row_stride);
  HostTensor slice = whole;
  slice.data = static_cast<const char*>(whole.data) + skip * DTypeSize(whole.dtype);
  (vector ? slice.cols : slice.rows) = count * per_unit;
  return slice;
}

HostTensor ShardInputs(const HostTensor& whole, const ShardSpec& shard) {
  CHECK_EQ(whole.cols % shard.size, 0);
  HostTensor slice = whole;
  slice.cols = whole.cols / shard.size;
  slice.data =
      static_cast<const char*>(whole.data) + shard.rank * slice.cols * DTypeSize(whole.dtype);
  return slice;
}

int64_t KSlices(int64_t k) {
  int64_t slices = 8;
  while (slices > 1 && k % (32 * slices) != 0) slices /= 2;
  return slices;
}

absl::Status CheckShardable(const ModelConfig& config, const ShardSpec& shard) {
  const int64_t size = shard.size;
  if (size < 1 || (size & (size - 1)) != 0 || shard.rank < 0 || shard.rank >= size) {
    return absl::InvalidArgumentError(
        absl::StrCat("rank ",
                     shard.rank,
                     " of ",
                     size,
                     ": expected a power of two and a rank below it"));
  }
  if (size == 1) return absl::OkStatus();
  if (config.num_heads % size != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(size, " ranks cannot divide ", config.num_heads, " attention heads"));
  }
  if (config.attention_bias || config.mlp_bias) {
    return absl::UnimplementedError("row-parallel biases are not supported on several ranks");
  }
  const int64_t kv = config.num_kv_heads;
  if (kv % size != 0 && size % kv != 0) {
    return absl::InvalidArgumentError(absl::StrCat(size, " ranks cannot divide ", kv, " KV heads"));
  }
  for (const int64_t k : {config.num_heads * config.head_dim, config.intermediate_size}) {
    if (KSlices(k) % size == 0) continue;
    return absl::InvalidArgumentError(absl::StrCat(size,
                                                   " ranks cannot divide the ",
                                                   KSlices(k),
                                                   " K-slices of a linear with ",
                                                   k,
                                                   " inputs"));
  }
  return absl::OkStatus();
}

}  // namespace pagoda
