#include <dlfcn.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "kernels/cuda/libraries/cublas_api.h"
#include "kernels/cuda/libraries/nccl_api.h"

namespace pagoda::cuda {
namespace {

// A shared library, until the end of the process; the first thing it lacks is its status.
class Library {
 public:
  Library(const char* name, const char* needed_for)
      : needed_for_(needed_for), handle_(dlopen(name, RTLD_NOW | RTLD_LOCAL)) {
    if (handle_ == nullptr) Fail();
  }

  template <class T>
  void Find(const char* name, T* function) {
    if (!status_.ok()) return;
    *function = reinterpret_cast<T>(dlsym(handle_, name));
    if (*function == nullptr) Fail();
  }

  const absl::Status& status() const { return status_; }

 private:
  void Fail() {
    const char* const error = dlerror();
    status_ = absl::FailedPreconditionError(
        absl::StrCat(needed_for_, ": ", error == nullptr ? "a newer library" : error));
  }

  const char* const needed_for_;
  void* const handle_;
  absl::Status status_;
};

absl::StatusOr<NcclApi> MakeNccl() {
  Library library("libnccl.so.2", "several ranks on GPUs");
  NcclApi api = {};
  library.Find("ncclGetUniqueId", &api.GetUniqueId);
  library.Find("ncclCommInitRankConfig", &api.CommInitRankConfig);
  library.Find("ncclCommGetAsyncError", &api.CommGetAsyncError);
  library.Find("ncclCommAbort", &api.CommAbort);
  library.Find("ncclGetErrorString", &api.GetErrorString);
  library.Find("ncclGetLastError", &api.GetLastError);
  library.Find("ncclGroupStart", &api.GroupStart);
  library.Find("ncclGroupEnd", &api.GroupEnd);
  library.Find("ncclSend", &api.Send);
  library.Find("ncclRecv", &api.Recv);
  library.Find("ncclAllGather", &api.AllGather);
  RETURN_IF_ERROR(library.status());
  return api;
}

absl::StatusOr<CublasApi> MakeCublas() {
  Library library("libcublasLt.so.13", "--no-deterministic");
  CublasApi api = {};
  library.Find("cublasLtCreate", &api.Create);
  library.Find("cublasLtDestroy", &api.Destroy);
  library.Find("cublasLtGetStatusString", &api.GetStatusString);
  library.Find("cublasLtMatmul", &api.Matmul);
  library.Find("cublasLtMatmulAlgoGetHeuristic", &api.MatmulAlgoGetHeuristic);
  library.Find("cublasLtMatmulDescCreate", &api.MatmulDescCreate);
  library.Find("cublasLtMatmulDescDestroy", &api.MatmulDescDestroy);
  library.Find("cublasLtMatmulDescSetAttribute", &api.MatmulDescSetAttribute);
  library.Find("cublasLtMatmulPreferenceCreate", &api.MatmulPreferenceCreate);
  library.Find("cublasLtMatmulPreferenceDestroy", &api.MatmulPreferenceDestroy);
  library.Find("cublasLtMatmulPreferenceSetAttribute", &api.MatmulPreferenceSetAttribute);
  library.Find("cublasLtMatrixLayoutCreate", &api.MatrixLayoutCreate);
  library.Find("cublasLtMatrixLayoutDestroy", &api.MatrixLayoutDestroy);
  RETURN_IF_ERROR(library.status());
  return api;
}

}  // namespace

absl::StatusOr<const NcclApi*> LoadNccl() {
  static const absl::StatusOr<NcclApi> api = MakeNccl();
  RETURN_IF_ERROR(api.status());
  return &*api;
}

absl::StatusOr<const CublasApi*> LoadCublas() {
  static const absl::StatusOr<CublasApi> api = MakeCublas();
  RETURN_IF_ERROR(api.status());
  return &*api;
}

}  // namespace pagoda::cuda
