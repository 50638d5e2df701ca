// The worker's gRPC server: where it listens, and how others reach it.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace pagoda {

struct WorkerServer {
  std::unique_ptr<grpc::Server> server;
  std::string address;  // a gRPC target; with the port taken where port 0 was asked for
};

// `address` is host:port or unix:/path. A socket file that nobody listens on any more is replaced.
// INVALID_ARGUMENT for another form, ALREADY_EXISTS when somebody else listens there, UNAVAILABLE
// when the address cannot be had.
absl::StatusOr<WorkerServer> Listen(const std::string& address, grpc::Service* service);

// INVALID_ARGUMENT when a coordinator could not dial `address` (a wildcard host).
absl::Status CheckReachable(const std::string& address);

}  // namespace pagoda
