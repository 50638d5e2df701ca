#include "kernels/cuda/nccl/nccl_api.h"

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

}  // namespace pagoda::cuda
