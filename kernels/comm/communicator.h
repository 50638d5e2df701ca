// How the ranks of a group meet. Every rank calls the same operations in the same order; each is
// collective and returns when this rank's part is done. One thread calls the operations; Abort may
// come from any thread.
//
// Data lies in the memory of the backend that opened the rendezvous. On a device an operation may
// return when it is queued, behind and before the backend's other work; what goes wrong with it
// later is status().
//
// A communicator belongs to one epoch. The first error (DEADLINE_EXCEEDED, CANCELLED after an
// Abort, UNAVAILABLE when a peer is lost) is its end: every later operation answers the same, and
// the next epoch makes another.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

namespace pagoda {

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  // What ended operations that were queued and came back OK: asked when they have been waited for.
  virtual absl::Status status() const { return absl::OkStatus(); }

  // Until when (RealClock) the operations that follow may wait for their peers. InfiniteFuture at
  // first; set for each step.
  virtual void SetDeadline(absl::Time deadline) = 0;

  // Every rank's `data` becomes the sum over all ranks, added in fp32 by the fixed binary tree over
  // rank order: ((0+1)+(2+3))+((4+5)+(6+7)). REQUIRES: the same size on every rank.
  virtual absl::Status AllReduce(absl::Span<float> data) = 0;

  // Every rank's `words` become their bitwise or. Where all ranks but one hold 0 this copies the
  // one's word, bit for bit. REQUIRES: the same size on every rank.
  virtual absl::Status AllMerge(absl::Span<uint32_t> words) = 0;

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
