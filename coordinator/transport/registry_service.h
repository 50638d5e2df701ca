// Where workers that were started by somebody else announce themselves (pagoda.v1.Registry).
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <string>
#include <utility>

#include "proto/pagoda/v1/worker.grpc.pb.h"

namespace pagoda {

class RegistryService final : public v1::Registry::CallbackService {
 public:
  // `announced` is called, from a gRPC thread, with the address of a worker that fits.
  explicit RegistryService(std::function<void(std::string address)> announced)
      : announced_(std::move(announced)) {}

  // FAILED_PRECONDITION for another protocol version, INVALID_ARGUMENT for a rank that cannot be,
  // UNIMPLEMENTED for a group of several ranks.
  grpc::ServerUnaryReactor* Join(grpc::CallbackServerContext* context,
                                 const v1::JoinRequest* request,
                                 v1::JoinResponse* response) override;

 private:
  const std::function<void(std::string address)> announced_;
};

}  // namespace pagoda
