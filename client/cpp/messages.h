// The client's values as messages and back. Private to client/cpp.
#pragma once

#include "absl/status/status.h"
#include "client/cpp/client.h"
#include "proto/pagoda/v1/inference.pb.h"

namespace pagoda::client_internal {

// INVALID_ARGUMENT names the place of the first byte that is not UTF-8: gRPC would refuse the
// message without saying why.
absl::Status CheckUtf8(absl::string_view what, absl::string_view text);

absl::Status ToProto(const GenerateRequest& from, v1::GenerateRequest* to);
// Nothing for an event of a newer server.
std::optional<Event> FromProto(v1::GenerateResponse from);
ModelInfo FromProto(const v1::GetModelResponse& from);

}  // namespace pagoda::client_internal
