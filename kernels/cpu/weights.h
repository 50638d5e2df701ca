// Weights as the CPU backend holds them, and how they are made from a checkpoint's tensors.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "kernels/cpu/huge_buffer.h"
#include "kernels/cpu/linear.h"
#include "kernels/cpu/thread_team.h"

namespace pagoda::cpu {

class CpuLinear final : public LinearWeight {
 public:
  // With `bias_after_sum` the kernel leaves the bias to LayerOps::AddBias.
  CpuLinear(const PackedLinear& packed,
            HugeBuffer data,
            std::vector<float> bias,
            bool bias_after_sum)
      : packed_(packed),
        data_(std::move(data)),
        bias_(std::move(bias)),
        bias_after_sum_(bias_after_sum) {
    packed_.data = data_.data();
    packed_.bias = bias_.empty() || bias_after_sum_ ? nullptr : bias_.data();
  }

  int64_t in() const override { return packed_.in; }
  int64_t out() const override { return packed_.out; }
  const PackedLinear& packed() const { return packed_; }
  // [out] that is to be added to the finished sum; null: none.
  const float* late_bias() const {
    return bias_.empty() || !bias_after_sum_ ? nullptr : bias_.data();
  }

 private:
  PackedLinear packed_;
  HugeBuffer data_;
  std::vector<float> bias_;  // [panels * 16] or empty
  bool bias_after_sum_;
};

// As Backend::PackLinear; packs on all of `team`.
absl::StatusOr<std::unique_ptr<CpuLinear>> PackCpuLinear(const LinearSpec& spec,
                                                         absl::Span<const HostTensor> parts,
                                                         absl::Span<const HostTensor> biases,
                                                         ThreadTeam* team);

class CpuEmbedding final : public EmbeddingWeight {
 public:
  // As Backend::PackEmbedding.
  static absl::StatusOr<std::unique_ptr<CpuEmbedding>> Make(const EmbeddingSpec& spec,
                                                            const HostTensor& table);

  CpuEmbedding(const EmbeddingSpec& spec, const HostTensor& table) : spec_(spec), table_(table) {}

  int64_t hidden() const { return table_.cols; }
  int64_t vocabulary() const { return spec_.vocab_size; }
  // out [hidden], zeros for a token of another rank. REQUIRES: 0 <= token < vocabulary().
  void Read(int32_t token, float* out) const;

 private:
  const EmbeddingSpec spec_;
  const HostTensor table_;  // the caller's memory
};

class CpuNorm final : public NormWeight {
 public:
  explicit CpuNorm(std::vector<float> weight) : weight_(std::move(weight)) {}
  const std::vector<float>& weight() const { return weight_; }

 private:
  const std::vector<float> weight_;
};

class CpuRopeTable final : public RopeTable {
 public:
  // As Backend::MakeRopeTable.
  static absl::StatusOr<std::unique_ptr<CpuRopeTable>> Make(const RopeSpec& spec);

  CpuRopeTable(int64_t max_position, int64_t pairs, HugeBuffer table)
      : max_position_(max_position), pairs_(pairs), table_(std::move(table)) {}

  int64_t max_position() const override { return max_position_; }
  int64_t pairs() const { return pairs_; }
  // [pairs]. REQUIRES: position < max_position().
  const float* cos(int64_t position) const {
    return reinterpret_cast<const float*>(table_.data()) + position * 2 * pairs_;
  }
  const float* sin(int64_t position) const { return cos(position) + pairs_; }

 private:
  const int64_t max_position_;
  const int64_t pairs_;
  const HugeBuffer table_;  // float [max_position][cos, sin][pairs]
};

}  // namespace pagoda::cpu
