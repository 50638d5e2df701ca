#include <cublas_v2.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "bench/kernels/cuda/gemm.h"
#include "common/status.h"

namespace pagoda::bench {
namespace {

absl::Status ToStatus(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(what, ": ", cublasGetStatusString(status)));
}

class CublasGemm final : public Gemm {
 public:
  explicit CublasGemm(cublasHandle_t handle) : handle_(handle) {}
  ~CublasGemm() override { static_cast<void>(cublasDestroy(handle_)); }
  CublasGemm(const CublasGemm&) = delete;
  CublasGemm& operator=(const CublasGemm&) = delete;

  absl::Status Run(const void* a, const void* b, void* c, int32_t size) override {
    const float one = 1, zero = 0;
    return ToStatus(cublasGemmEx(handle_,
                                 CUBLAS_OP_T,  // the layout of y = x W^T, cuBLAS's fastest
                                 CUBLAS_OP_N,
                                 size,
                                 size,
                                 size,
                                 &one,
                                 a,
                                 CUDA_R_16BF,
                                 size,
                                 b,
                                 CUDA_R_16BF,
                                 size,
                                 &zero,
                                 c,
                                 CUDA_R_16BF,
                                 size,
                                 CUBLAS_COMPUTE_32F,
                                 CUBLAS_GEMM_DEFAULT),
                    "cublasGemmEx");
  }

 private:
  const cublasHandle_t handle_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Gemm>> MakeGemm(cudaStream_t stream) {
  cublasHandle_t handle = nullptr;
  RETURN_IF_ERROR(ToStatus(cublasCreate(&handle), "cublasCreate"));
  auto gemm = std::make_unique<CublasGemm>(handle);
  RETURN_IF_ERROR(ToStatus(cublasSetStream(handle, stream), "cublasSetStream"));
  return gemm;
}

}  // namespace pagoda::bench
