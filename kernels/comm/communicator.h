// How the ranks of a group meet. Every rank calls the same operations in the same order; each is
// collective and returns when this rank's part is done. One thread calls the operations; Abort may
// come from any thread.
#pragma once

#include <cstddef>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace pagoda {

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  // Every rank's `data` becomes the sum over all ranks, added in fp32 by the fixed binary tree over
  // rank order: ((0+1)+(2+3))+((4+5)+(6+7)). REQUIRES: the same size on every rank.
  virtual absl::Status AllReduce(absl::Span<float> data) = 0;

  // `all` becomes the concatenation of every rank's `mine`, by rank.
  // REQUIRES: all.size() == size() * mine.size().
  virtual absl::Status AllGather(absl::Span<const std::byte> mine, absl::Span<std::byte> all) = 0;

  // As AllGather, on rank `root` alone; `all` is ignored elsewhere.
  virtual absl::Status Gather(absl::Span<const std::byte> mine,
                              absl::Span<std::byte> all,
                              int root) = 0;

  // Every rank's `data` becomes that of `root`.
  virtual absl::Status Broadcast(absl::Span<std::byte> data, int root) = 0;

  // Ends the operation under way and refuses every later one with CANCELLED. Idempotent.
  virtual void Abort() = 0;
};

}  // namespace pagoda
