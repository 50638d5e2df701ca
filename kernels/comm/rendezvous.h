// How the ranks of an epoch find each other, in two phases: each rank opens its endpoint and tells
// it (ConfigureResponse.endpoint); once all are known (Open.endpoints), all connect.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "kernels/comm/communicator.h"

namespace pagoda {

// Which way the bytes take between the ranks.
enum class CommBackend {
  kAuto,   // NCCL on GPUs; else local where all ranks share a host, else gloo
  kLocal,  // shared memory; ranks on one host, as one user
  kGloo,   // TCP, in plain text and without authentication
  kNccl,   // between GPUs, one of each rank's own
};

struct CommOptions {
  int rank = 0;
  int size = 1;  // 1, 2, 4 or 8
  uint64_t epoch = 0;
  CommBackend backend = CommBackend::kAuto;
  std::string interface;  // of gloo: an interface's name or one of its addresses
};

// --comm-backend: auto, local, gloo, nccl. INVALID_ARGUMENT for any other name.
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

// Of ranks whose data is in the host's memory. INVALID_ARGUMENT for a size, a backend or an
// interface that cannot be, RESOURCE_EXHAUSTED without memory.
absl::StatusOr<std::unique_ptr<Rendezvous>> OpenRendezvous(const CommOptions& options);

// INVALID_ARGUMENT for a rank or a size that no group has.
absl::Status CheckRank(const CommOptions& options);

// An endpoint of `options`' epoch, rank and size, for any way between ranks: a line of text.
std::string EncodeEndpoint(const CommOptions& options, absl::string_view way);
// The ways of one epoch's endpoints, by rank. FAILED_PRECONDITION when one is of another epoch,
// rank or size.
absl::StatusOr<std::vector<std::string>> DecodeEndpoints(absl::Span<const std::string> endpoints,
                                                         const CommOptions& options);

}  // namespace pagoda
