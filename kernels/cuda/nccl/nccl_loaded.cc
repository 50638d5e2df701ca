#include <dlfcn.h>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "kernels/cuda/nccl/nccl_api.h"

namespace pagoda::cuda {
namespace {

constexpr char kLibrary[] = "libnccl.so.2";

absl::Status Missing() {
  return absl::FailedPreconditionError(
      absl::StrCat("several ranks on GPUs need ", kLibrary, ": ", dlerror()));
}

template <class T>
absl::Status Find(void* library, const char* name, T* function) {
  *function = reinterpret_cast<T>(dlsym(library, name));
  return *function == nullptr ? Missing() : absl::OkStatus();
}

absl::StatusOr<NcclApi> Load() {
  void* const library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);  // until the end of the process
  if (library == nullptr) return Missing();
  NcclApi api;
  RETURN_IF_ERROR(Find(library, "ncclGetUniqueId", &api.GetUniqueId));
  RETURN_IF_ERROR(Find(library, "ncclCommInitRankConfig", &api.CommInitRankConfig));
  RETURN_IF_ERROR(Find(library, "ncclCommGetAsyncError", &api.CommGetAsyncError));
  RETURN_IF_ERROR(Find(library, "ncclCommAbort", &api.CommAbort));
  RETURN_IF_ERROR(Find(library, "ncclGetErrorString", &api.GetErrorString));
  RETURN_IF_ERROR(Find(library, "ncclGetLastError", &api.GetLastError));
  RETURN_IF_ERROR(Find(library, "ncclGroupStart", &api.GroupStart));
  RETURN_IF_ERROR(Find(library, "ncclGroupEnd", &api.GroupEnd));
  RETURN_IF_ERROR(Find(library, "ncclSend", &api.Send));
  RETURN_IF_ERROR(Find(library, "ncclRecv", &api.Recv));
  RETURN_IF_ERROR(Find(library, "ncclAllGather", &api.AllGather));
  return api;
}

}  // namespace

absl::StatusOr<const NcclApi*> LoadNccl() {
  static const absl::StatusOr<NcclApi> api = Load();
  RETURN_IF_ERROR(api.status());
  return &*api;
}

}  // namespace pagoda::cuda
