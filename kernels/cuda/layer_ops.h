// The layer operations of one step, queued on a stream.
#pragma once

#include <cuda_runtime.h>

#include "absl/status/status.h"
#include "kernels/backend.h"
#include "kernels/cuda/cublas_linear.h"
#include "kernels/cuda/cuda_step.h"

namespace pagoda::cuda {

// Memory of the kernels' own, and how much of the device attention fills.
struct LayerMemory {
  const int32_t* lane_tokens = nullptr;
  const int32_t* tables = nullptr;
  float* workspace = nullptr;  // of attention
  float* carry = nullptr;
  int32_t max_ctas = 0;
  CublasLinear* cublas = nullptr;  // for linears of bf16; null: our own
};

class CudaLayerOps final : public LayerOps {
 public:
  CudaLayerOps(const CudaStep& step, const LayerMemory& memory, cudaStream_t stream)
      : step_(step), memory_(memory), stream_(stream) {}

  void Embed(const EmbeddingWeight& weight, TensorView out) override;
  void AddNorm(TensorView residual,
               TensorView delta,
               const NormWeight& weight,
               float epsilon,
               TensorView out) override;
  void Linear(TensorView x, const LinearWeight& weight, TensorView out) override;
  void AddBias(const LinearWeight& weight, TensorView out) override;
  void RopeAndStoreKv(int layer,
                      TensorView qkv,
                      const RopeTable& rope,
                      KvPool& pool,
                      TensorView q) override;
  void Attention(int layer,
                 TensorView q,
                 KvPool& pool,
                 const AttentionSpec& spec,
                 TensorView out) override;
  void Logits(TensorView x, const LinearWeight& weight, TensorView out) override;
  void JoinParts(TensorView parts, TensorView out) override;

  // The first error of a launch.
  const absl::Status& status() const { return status_; }

 private:
  void RunOne(TensorView x,
              const int32_t* x_row,
              int64_t rows,
              const LinearWeight& weight,
              TensorView out);
  void Check(cudaError_t error, const char* what);

  const CudaStep& step_;
  const LayerMemory memory_;
  const cudaStream_t stream_;
  absl::Status status_;
};

}  // namespace pagoda::cuda
