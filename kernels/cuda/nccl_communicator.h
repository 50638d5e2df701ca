// Ranks that meet over NCCL, a GPU each. Operations are queued on the backend's stream: messages by
// NCCL's point-to-point and all-gather, sums by the contract's tree in a kernel of ours.
//
// A peer that is lost is not noticed by a stream that waits for it. A watchdog looks every 100 ms
// while something is queued, and aborts when NCCL reports an error or when the deadline has passed:
// the stream goes on, with nonsense that nobody may use (status()), and the process keeps its
// weights. An abort that takes over 5 s ends the process.
#pragma once

#include <cuda_runtime.h>
#include <nccl.h>

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "kernels/comm/communicator.h"

namespace pagoda::cuda {

struct NcclOptions {
  int rank = 0;
  int size = 2;  // 1, 2, 4 or 8
  int device = 0;
  cudaStream_t stream = nullptr;  // outlives the communicator
  size_t max_bytes = 0;           // of an operation's buffer
  absl::Duration connect_timeout = absl::Seconds(10);
  absl::Duration abort_timeout = absl::Seconds(5);
};

absl::StatusOr<ncclUniqueId> NewNcclId();

// Meets the other ranks, who have the same id. DEADLINE_EXCEEDED when they do not come,
// UNAVAILABLE when one was lost, FAILED_PRECONDITION without NCCL.
absl::StatusOr<std::unique_ptr<Communicator>> ConnectNccl(const ncclUniqueId& id,
                                                          const NcclOptions& options);

}  // namespace pagoda::cuda
