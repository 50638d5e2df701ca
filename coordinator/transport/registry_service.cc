#include "coordinator/transport/registry_service.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "coordinator/transport/protocol.h"
#include "coordinator/transport/rpc_status.h"

namespace pagoda {
namespace {

absl::Status Check(const v1::JoinRequest& request) {
  if (request.protocol_version() != kProtocolVersion) {
    return absl::FailedPreconditionError(absl::StrCat("the worker speaks protocol ",
                                                      request.protocol_version(),
                                                      ", this coordinator ",
                                                      kProtocolVersion));
  }
  if (request.size() == 0 || request.rank() >= request.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("rank ", request.rank(), " of ", request.size(), " ranks"));
  }
  if (request.address().empty()) return absl::InvalidArgumentError("the worker gave no address");
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* RegistryService::Join(grpc::CallbackServerContext* context,
                                                const v1::JoinRequest* request,
                                                v1::JoinResponse*) {
  absl::Status status = Check(*request);
  if (status.ok()) status = announced_(*request);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(status));
  return reactor;
}

}  // namespace pagoda
