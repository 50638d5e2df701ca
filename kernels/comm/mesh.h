// What a way between ranks has to offer: one exchange, in which each rank gives parts of its bytes
// to its peers and takes parts of theirs. All collectives are made of it (mesh_communicator.h).
#pragma once

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

namespace pagoda {

// Bytes [begin, begin + size).
struct ByteRange {
  size_t begin = 0;
  size_t size = 0;
};

// One thread exchanges; Abort may come from any. After an error a mesh only answers errors.
class Mesh {
 public:
  virtual ~Mesh() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Bytes that a rank may give in one exchange.
  virtual size_t capacity() const = 0;

  // Rank p takes the range give[p] of `mine`; this rank takes the range take[p] of what p calls
  // mine, and finds it at taken[p] until its next Exchange. Entries of this rank itself are not
  // looked at; an empty range is no message. Every rank calls it with ranges that fit.
  virtual absl::Status Exchange(absl::Span<const std::byte> mine,
                                absl::Span<const ByteRange> give,
                                absl::Span<const ByteRange> take,
                                absl::Time deadline,
                                absl::Span<const std::byte*> taken) = 0;

  // Ends the exchange under way, and all later ones, with CANCELLED.
  virtual void Abort() = 0;
};

}  // namespace pagoda
