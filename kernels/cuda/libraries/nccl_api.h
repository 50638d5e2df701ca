// NCCL's functions that are called. On devices they are loaded when a group first needs them: a
// worker of one rank runs without libnccl.so.2. The fake device's are linked.
#pragma once

#include <nccl.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace pagoda::cuda {

struct NcclApi {
  decltype(&::ncclGetUniqueId) GetUniqueId;
  decltype(&::ncclCommInitRankConfig) CommInitRankConfig;
  decltype(&::ncclCommGetAsyncError) CommGetAsyncError;
  decltype(&::ncclCommAbort) CommAbort;
  decltype(&::ncclGetErrorString) GetErrorString;
  decltype(&::ncclGetLastError) GetLastError;
  decltype(&::ncclGroupStart) GroupStart;
  decltype(&::ncclGroupEnd) GroupEnd;
  decltype(&::ncclSend) Send;
  decltype(&::ncclRecv) Recv;
  decltype(&::ncclAllGather) AllGather;
};

// FAILED_PRECONDITION where there is no NCCL. Any thread.
absl::StatusOr<const NcclApi*> LoadNccl();

}  // namespace pagoda::cuda
