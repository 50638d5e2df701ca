#include "kernels/cuda/libraries/cublas_api.h"
#include "kernels/cuda/libraries/nccl_api.h"

namespace pagoda::cuda {

absl::StatusOr<const NcclApi*> LoadNccl() {
  static constexpr NcclApi kApi = {ncclGetUniqueId,
                                   ncclCommInitRankConfig,
                                   ncclCommGetAsyncError,
                                   ncclCommAbort,
                                   ncclGetErrorString,
                                   ncclGetLastError,
                                   ncclGroupStart,
                                   ncclGroupEnd,
                                   ncclSend,
                                   ncclRecv,
                                   ncclAllGather};
  return &kApi;
}

absl::StatusOr<const CublasApi*> LoadCublas() {
  static constexpr CublasApi kApi = {cublasLtCreate,
                                     cublasLtDestroy,
                                     cublasLtGetStatusString,
                                     cublasLtMatmul,
                                     cublasLtMatmulAlgoGetHeuristic,
                                     cublasLtMatmulDescCreate,
                                     cublasLtMatmulDescDestroy,
                                     cublasLtMatmulDescSetAttribute,
                                     cublasLtMatmulPreferenceCreate,
                                     cublasLtMatmulPreferenceDestroy,
                                     cublasLtMatmulPreferenceSetAttribute,
                                     cublasLtMatrixLayoutCreate,
                                     cublasLtMatrixLayoutDestroy};
  return &kApi;
}

}  // namespace pagoda::cuda
