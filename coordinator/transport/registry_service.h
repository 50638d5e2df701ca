// Where workers that were started by somebody else announce themselves (pagoda.v1.Registry).
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <utility>

#include "absl/status/status.h"
#include "proto/pagoda/v1/worker.grpc.pb.h"

namespace pagoda {

class RegistryService final : public v1::Registry::CallbackService {
 public:
  using Announced = std::function<absl::Status(const v1::JoinRequest& request)>;

  // `announced` is called, from a gRPC thread, with a request that can be; its status is the
  // answer.
  explicit RegistryService(Announced announced) : announced_(std::move(announced)) {}

  // FAILED_PRECONDITION for another protocol version, INVALID_ARGUMENT for a rank that cannot be.
  grpc::ServerUnaryReactor* Join(grpc::CallbackServerContext* context,
                                 const v1::JoinRequest* request,
                                 v1::JoinResponse* response) override;

 private:
  const Announced announced_;
};

}  // namespace pagoda
