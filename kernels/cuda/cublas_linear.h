// Linears of bf16 by cuBLASLt: faster on some shapes than our own, but how it adds depends on the
// number of rows, so a row's result depends on the batch. For --no-deterministic.
#pragma once

#include <cuda_runtime.h>

#include <map>
#include <memory>
#include <tuple>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/libraries/cublas_api.h"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/resources.h"

namespace pagoda::cuda {

class CublasLinear {
 public:
  // FAILED_PRECONDITION without cuBLASLt.
  static absl::StatusOr<std::unique_ptr<CublasLinear>> Make();

  // Make opens it.
  explicit CublasLinear(const CublasApi& api)
      : api_(api),
        handle_(nullptr, {&api}),
        multiply_(nullptr, {&api}),
        preference_(nullptr, {&api}) {}

  // A weight that will be used. REQUIRES: bf16, one slice.
  void Add(const PackedLinear& weight);
  // Device bytes that Reserve takes for steps of so many tokens and rows of logits.
  size_t Bytes(int32_t tokens, int32_t logits_rows) const;
  absl::Status Reserve(int32_t tokens, int32_t logits_rows);

  // As RunLinear, up to the order of sums. REQUIRES: Add and Reserve knew of it.
  absl::Status Run(const LinearArgs& args, cudaStream_t stream);

 private:
  template <auto CublasApi::*kDestroy>
  struct Destroy {
    const CublasApi* api;
    template <class T>
    void operator()(T* owned) const {
      static_cast<void>((api->*kDestroy)(owned));
    }
  };
  template <class T, auto CublasApi::*kDestroy>
  using Owner = std::unique_ptr<std::remove_pointer_t<T>, Destroy<kDestroy>>;
  using Handle = Owner<cublasLtHandle_t, &CublasApi::Destroy>;
  using Desc = Owner<cublasLtMatmulDesc_t, &CublasApi::MatmulDescDestroy>;
  using Preference = Owner<cublasLtMatmulPreference_t, &CublasApi::MatmulPreferenceDestroy>;
  using Layout = Owner<cublasLtMatrixLayout_t, &CublasApi::MatrixLayoutDestroy>;

  // How one shape is multiplied.
  struct Plan {
    Layout weight, x, y;
    cublasLtMatmulAlgo_t algo;
  };
  // Weight columns, depth, k; rows; strides of x and y.
  using Shape = std::tuple<int32_t, int32_t, int32_t, int32_t, int64_t, int64_t>;

  absl::Status Open();
  absl::StatusOr<Layout> MakeLayout(cudaDataType type, uint64_t rows, uint64_t columns, int64_t ld);
  // Looks for it once.
  absl::StatusOr<const Plan*> PlanFor(const Shape& shape);
  absl::Status ToStatus(cublasStatus_t status) const;

  const CublasApi& api_;
  Handle handle_;
  Desc multiply_;
  Preference preference_;
  DeviceBuffer workspace_;
  int32_t most_in_ = 0;       // columns of x
  int32_t most_columns_ = 0;  // of a weight with kSiluMul
  DeviceBuffer gathered_;     // bf16 [logits rows, most_in_]
  DeviceBuffer columns_;      // f32 [tokens, most_columns_]
  std::map<Shape, Plan> plans_;
};

}  // namespace pagoda::cuda
