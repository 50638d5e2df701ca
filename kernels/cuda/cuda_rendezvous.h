// How ranks on devices find each other: over NCCL, or through the host (--comm-backend local,
// gloo).
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"
#include "kernels/comm/rendezvous.h"

namespace pagoda::cuda {

// `max_bytes` of an operation's largest buffer; `stream`, on `device`, outlives the communicator.
// Errors as of pagoda::OpenRendezvous; FAILED_PRECONDITION without NCCL where it is needed.
absl::StatusOr<std::unique_ptr<Rendezvous>> OpenCudaRendezvous(const CommOptions& options,
                                                               int device,
                                                               cudaStream_t stream,
                                                               size_t max_bytes);

}  // namespace pagoda::cuda
