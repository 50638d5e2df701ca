// The gRPC entrance: pagoda.v1.Inference, grpc.health.v1 and reflection on one port.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/api/acceptor.h"
#include "coordinator/api/work_pool.h"

namespace grpc {
class Service;
}

namespace pagoda {

class InferenceServer {
 public:
  // Listens on host:port; port 0 takes a free one. All outlive the server; `more` is a further
  // service on the same port. UNAVAILABLE when the address cannot be had.
  static absl::StatusOr<std::unique_ptr<InferenceServer>> Listen(const std::string& host,
                                                                 uint16_t port,
                                                                 Acceptor* acceptor,
                                                                 WorkPool* pool,
                                                                 grpc::Service* more = nullptr);
  virtual ~InferenceServer() = default;

  // Ends open calls and waits for that; the engine must still run. Once, before the end.
  virtual void Shutdown() = 0;

  virtual uint16_t port() const = 0;
  // What grpc.health.v1 answers; not serving at first.
  virtual void SetServing(bool serving) = 0;
};

}  // namespace pagoda
