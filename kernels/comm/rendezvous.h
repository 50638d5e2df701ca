// How the ranks of an epoch find each other, in two phases: each rank opens its endpoint and tells
// it (ConfigureResponse.endpoint); once all are known (Open.endpoints), all connect.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/comm/communicator.h"

namespace pagoda {

// Which way the bytes take between the ranks.
enum class CommBackend {
  kAuto,   // local where all ranks share a host, else gloo
  kLocal,  // shared memory; ranks on one host, as one user
  kGloo,   // TCP, in plain text and without authentication
};

struct CommOptions {
  int rank = 0;
  int size = 1;  // 1, 2, 4 or 8
  uint64_t epoch = 0;
  CommBackend backend = CommBackend::kAuto;
  std::string interface;  // of gloo: an interface's name or one of its addresses
};

// --comm-backend: auto, local, gloo. INVALID_ARGUMENT for any other name.
absl::StatusOr<CommBackend> ParseCommBackend(absl::string_view name);

// Phase one. One thread at a time.
class Rendezvous {
 public:
  virtual ~Rendezvous() = default;

  // Opaque; for the peers of this epoch alone.
  virtual const std::string& endpoint() const = 0;

  // Phase two, once: every rank calls it with all endpoints, by rank, and has met all others when
  // it returns. FAILED_PRECONDITION when an endpoint is of another epoch, rank, size or backend;
  // UNAVAILABLE, DEADLINE_EXCEEDED when a peer cannot be reached, after ten seconds at most.
  virtual absl::StatusOr<std::unique_ptr<Communicator>> Connect(
      absl::Span<const std::string> endpoints) = 0;
};

// INVALID_ARGUMENT for a size or an interface that cannot be, RESOURCE_EXHAUSTED without memory.
absl::StatusOr<std::unique_ptr<Rendezvous>> OpenRendezvous(const CommOptions& options);

}  // namespace pagoda
