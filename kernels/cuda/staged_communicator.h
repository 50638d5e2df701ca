// Ranks on devices that meet through the host: data goes to page-locked memory, another
// communicator takes it from there, and what comes goes back. For ranks that share a GPU, and hosts
// without NCCL.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"
#include "kernels/comm/communicator.h"

namespace pagoda::cuda {

// `max_bytes` of an operation's largest buffer. `stream` outlives the communicator.
absl::StatusOr<std::unique_ptr<Communicator>>
MakeStagedCommunicator(std::unique_ptr<Communicator> host, size_t max_bytes, cudaStream_t stream);

}  // namespace pagoda::cuda
