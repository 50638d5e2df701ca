// A mesh over TCP, by Gloo's point-to-point buffers: plain text, no authentication. Gloo throws and
// has threads of its own; no exception leaves this file.
//
// Phase one opens one listening socket per peer, which is closed as soon as that peer has
// connected.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/comm/mesh.h"

namespace pagoda {

class GlooEndpoint {
 public:
  virtual ~GlooEndpoint() = default;

  // By peer: where that rank shall connect. Empty for this rank itself.
  virtual const std::vector<std::string>& addresses() const = 0;

  // `addresses[p]` is where rank p waits for this one. UNAVAILABLE when a peer is not there, or
  // does not come within five seconds. Once.
  virtual absl::StatusOr<std::unique_ptr<Mesh>> Connect(
      absl::Span<const std::string> addresses) = 0;
};

// `interface` is the name of a network interface or one of its addresses. INVALID_ARGUMENT when
// there is no such interface.
absl::StatusOr<std::unique_ptr<GlooEndpoint>> OpenGlooEndpoint(int rank,
                                                               int size,
                                                               const std::string& interface);

}  // namespace pagoda
