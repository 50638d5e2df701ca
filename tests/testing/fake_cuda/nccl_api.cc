#include <unistd.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "tests/testing/fake_cuda/include/nccl.h"
#include "tests/testing/fake_cuda/memory.h"
#include "tests/testing/fake_cuda/nccl_comm.h"
#include "tests/testing/fake_cuda/runtime.h"

using pagoda::MutexLock;
using pagoda::fake_cuda::NcclComm;
using pagoda::fake_cuda::Random;
using pagoda::fake_cuda::Runtime;
using pagoda::fake_cuda::Transfer;

// Queued operations outlive the handle, hence shared.
struct ncclComm {
  std::shared_ptr<NcclComm> state;
};

namespace {

struct Queued {
  ncclComm_t comm;
  cudaStream_t stream;
  std::vector<Transfer> transfers;
};

thread_local int group_depth = 0;
thread_local std::vector<Queued> group;

size_t SizeOf(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8:
      return 1;
    case ncclBfloat16:
      return 2;
    case ncclInt32:
    case ncclFloat32:
      return 4;
    case ncclInt64:
      return 8;
  }
  return 0;
}

ncclResult_t EndGroup() {
  Runtime& runtime = Runtime::Get();
  MutexLock lock(runtime.mutex());
  for (Queued& queued : std::exchange(group, {})) {
    if (runtime.Enter() != cudaSuccess) return ncclUnhandledCudaError;
    const auto state = queued.comm->state;
    const auto operation = std::make_shared<NcclComm::Operation>(std::move(queued.transfers));
    const cudaError_t error = runtime.Enqueue(
        queued.stream,
        {[state, operation](Random*) { return operation->Attempt(state.get()); },
         [state, operation](std::vector<pollfd>* wakers) { operation->Wakers(*state, wakers); }});
    if (error != cudaSuccess) return ncclUnhandledCudaError;
  }
  return ncclSuccess;
}

ncclResult_t Add(ncclComm_t comm, cudaStream_t stream, std::vector<Transfer> transfers) {
  for (const Transfer& transfer : transfers) {
    if (comm == nullptr || transfer.peer < 0 || transfer.peer >= comm->state->ranks() ||
        (transfer.bytes > 0 && !pagoda::fake_cuda::InDeviceMemory(transfer.data, transfer.bytes))) {
      return ncclInvalidArgument;
    }
  }
  ncclGroupStart();
  for (Queued& queued : group) {
    if (queued.comm != comm || queued.stream != stream) continue;
    queued.transfers.insert(queued.transfers.end(), transfers.begin(), transfers.end());
    return ncclGroupEnd();
  }
  group.push_back({comm, stream, std::move(transfers)});
  return ncclGroupEnd();
}

}  // namespace

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  static std::atomic<int> count = 0;
  const std::string name = absl::StrCat("pagoda-fake-nccl-",
                                        getpid(),
                                        "-",
                                        ++count,
                                        "-",
                                        absl::ToUnixNanos(pagoda::RealClock()->Now()));
  *id = {};
  std::memcpy(id->internal, name.data(), name.size());
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm,
                                    int ranks,
                                    ncclUniqueId id,
                                    int rank,
                                    ncclConfig_t* config) {
  if (config == nullptr || config->blocking != 0 || ranks < 1 || rank < 0 || rank >= ranks ||
      strnlen(id.internal, sizeof id.internal) == sizeof id.internal) {
    return ncclInvalidArgument;
  }
  auto made = std::make_unique<ncclComm>();
  made->state = std::make_shared<NcclComm>(id.internal, rank, ranks);
  *comm = made.release();
  return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
  MutexLock lock(Runtime::Get().mutex());
  *error = comm->state->Connect();
  return ncclSuccess;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  const std::unique_ptr<ncclComm> dead(comm);
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
  while (pagoda::fake_cuda::nccl_aborts_hang) pause();
  MutexLock lock(Runtime::Get().mutex());
  const std::unique_ptr<ncclComm> dead(comm);
  dead->state->Abort();
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess:
      return "no error";
    case ncclUnhandledCudaError:
      return "unhandled cuda error";
    case ncclSystemError:
      return "unhandled system error";
    case ncclInternalError:
      return "internal error";
    case ncclInvalidArgument:
      return "invalid argument";
    case ncclInvalidUsage:
      return "invalid usage";
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    case ncclInProgress:
      return "NCCL operation in progress";
  }
  return "unknown result code";
}

const char* ncclGetLastError(ncclComm_t comm) { return comm->state->message().c_str(); }

ncclResult_t ncclGroupStart() {
  ++group_depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  if (group_depth == 0) return ncclInvalidUsage;
  return --group_depth > 0 ? ncclSuccess : EndGroup();
}

ncclResult_t ncclSend(const void* data,
                      size_t count,
                      ncclDataType_t type,
                      int peer,
                      ncclComm_t comm,
                      cudaStream_t stream) {
  return Add(comm,
             stream,
             {{.kind = Transfer::Kind::kSend,
               .peer = peer,
               .data = const_cast<void*>(data),
               .bytes = count * SizeOf(type),
               .type = static_cast<uint32_t>(type)}});
}

ncclResult_t ncclRecv(void* data,
                      size_t count,
                      ncclDataType_t type,
                      int peer,
                      ncclComm_t comm,
                      cudaStream_t stream) {
  return Add(comm,
             stream,
             {{.kind = Transfer::Kind::kReceive,
               .peer = peer,
               .data = data,
               .bytes = count * SizeOf(type),
               .type = static_cast<uint32_t>(type)}});
}

ncclResult_t ncclAllGather(const void* send,
                           void* receive,
                           size_t count,
                           ncclDataType_t type,
                           ncclComm_t comm,
                           cudaStream_t stream) {
  const size_t bytes = count * SizeOf(type);
  std::vector<Transfer> transfers;
  for (int peer = 0; comm != nullptr && peer < comm->state->ranks(); ++peer) {
    Transfer transfer = {.peer = peer,
                         .data = const_cast<void*>(send),
                         .bytes = bytes,
                         .collective = 1,
                         .type = static_cast<uint32_t>(type)};
    transfers.push_back(transfer);
    transfer.kind = Transfer::Kind::kReceive;
    transfer.data = static_cast<char*>(receive) + peer * bytes;
    transfers.push_back(transfer);
  }
  return Add(comm, stream, std::move(transfers));
}
