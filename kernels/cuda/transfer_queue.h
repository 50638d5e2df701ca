// Whole blocks on their way between the device's memory and the host's, on a stream of their own.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/cuda/block_ops.h"
#include "kernels/cuda/resources.h"
#include "kernels/step.h"

namespace pagoda::cuda {

class TransferQueue {
 public:
  static constexpr uint64_t kMaxPending = 64;

  static absl::StatusOr<std::unique_ptr<TransferQueue>> Make();

  // Queues copies from block `source` of `from` to block `destination` of `to`, behind what `steps`
  // has queued; nothing in `steps` waits for them. One side is device memory, the other
  // page-locked. RESOURCE_EXHAUSTED while kMaxPending transfers are under way.
  absl::Status Start(const BlockMemory& from,
                     const BlockMemory& to,
                     absl::Span<const BlockCopy> copies,
                     const Stream& steps);

  // How many have finished, in order. Does not wait.
  absl::StatusOr<uint64_t> Finished();

 private:
  // What one call of the driver is to copy: neighbours on both sides go as one piece.
  void Gather(const BlockMemory& from, const BlockMemory& to, absl::Span<const BlockCopy> copies);

  Event steps_so_far_;
  std::array<Event, kMaxPending> ends_;  // of transfer n: ends_[n % kMaxPending]
  uint64_t started_ = 0;
  uint64_t finished_ = 0;
  std::vector<const void*> sources_;
  std::vector<void*> destinations_;
  std::vector<size_t> sizes_;
  Stream stream_;
};

}  // namespace pagoda::cuda
