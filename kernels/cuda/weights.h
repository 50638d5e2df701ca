// Weights and KV pools as the CUDA backend holds them, in device memory. Making a weight waits
// until it is there.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/resources.h"

namespace pagoda::cuda {

// A copy of host memory.
absl::StatusOr<DeviceBuffer> Upload(const void* data, size_t bytes, const Stream& stream);

class CudaLinear final : public LinearWeight {
 public:
  // As Backend::PackLinear; in one slice where the contract's tree does not matter.
  static absl::StatusOr<std::unique_ptr<CudaLinear>> Make(const LinearSpec& spec,
                                                          absl::Span<const HostTensor> parts,
                                                          absl::Span<const HostTensor> biases,
                                                          const Stream& stream,
                                                          bool in_slices = true);

  int64_t in() const override { return packed_.in; }
  int64_t out() const override { return packed_.out; }
  const PackedLinear& packed() const { return packed_; }
  // [out] that is to be added to the finished sum; null: none.
  const float* late_bias() const { return late_bias_; }

 private:
  PackedLinear packed_;
  DeviceBuffer data_;
  DeviceBuffer bias_;
  const float* late_bias_ = nullptr;
};

class CudaEmbedding final : public EmbeddingWeight {
 public:
  // As Backend::PackEmbedding; the table is copied.
  static absl::StatusOr<std::unique_ptr<CudaEmbedding>> Make(const EmbeddingSpec& spec,
                                                             const HostTensor& table,
                                                             const Stream& stream);

  const EmbeddingSpec& spec() const { return spec_; }
  int32_t tokens() const { return tokens_; }
  int32_t hidden() const { return hidden_; }
  const void* data() const { return data_.data(); }

 private:
  EmbeddingSpec spec_;
  int32_t tokens_ = 0;
  int32_t hidden_ = 0;
  DeviceBuffer data_;  // [tokens, hidden] of spec_.dtype
};

class CudaNorm final : public NormWeight {
 public:
  // As Backend::PackNorm.
  static absl::StatusOr<std::unique_ptr<CudaNorm>> Make(const HostTensor& weight,
                                                        const Stream& stream);

  int32_t size() const { return static_cast<int32_t>(data_.bytes() / sizeof(float)); }
  const float* data() const { return data_.data<float>(); }

 private:
  DeviceBuffer data_;
};

class CudaRopeTable final : public RopeTable {
 public:
  // As Backend::MakeRopeTable.
  static absl::StatusOr<std::unique_ptr<CudaRopeTable>> Make(const RopeSpec& spec,
                                                             const Stream& stream);

  int64_t max_position() const override { return max_position_; }
  int32_t pairs() const { return pairs_; }
  const float* data() const { return data_.data<float>(); }

 private:
  int64_t max_position_ = 0;
  int32_t pairs_ = 0;
  DeviceBuffer data_;  // float [max_position][cos, sin][pairs]
};

class CudaKvPool final : public KvPool {
 public:
  // As Backend::MakeKvPool.
  static absl::StatusOr<std::unique_ptr<CudaKvPool>> Make(const KvLayout& layout,
                                                          int32_t num_blocks,
                                                          const Stream& stream);

  const KvLayout& layout() const override { return layout_; }
  int32_t num_blocks() const override { return num_blocks_; }
  void* block(int32_t id) override { return data() + id * layout_.BlockBytes(); }
  std::byte* data() const { return data_.data<std::byte>(); }

 private:
  KvLayout layout_;
  int32_t num_blocks_ = 0;
  DeviceBuffer data_;
};

// Blocks in page-locked memory of the host.
class CudaHostKvPool final : public KvPool {
 public:
  // As Backend::MakeHostKvPool.
  static absl::StatusOr<std::unique_ptr<CudaHostKvPool>> Make(const KvLayout& layout,
                                                              int32_t num_blocks);

  const KvLayout& layout() const override { return layout_; }
  int32_t num_blocks() const override { return num_blocks_; }
  void* block(int32_t id) override { return data_.data<std::byte>() + id * layout_.BlockBytes(); }

 private:
  KvLayout layout_;
  int32_t num_blocks_ = 0;
  PinnedBuffer data_;
};

}  // namespace pagoda::cuda
