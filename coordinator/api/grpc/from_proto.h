// A GenerateRequest as parameters; what this server cannot do is refused by the field's name.
#pragma once

#include "absl/status/statusor.h"
#include "coordinator/api/served_model.h"
#include "coordinator/api/valid_request.h"
#include "proto/pagoda/v1/inference.pb.h"

namespace pagoda {

// UNIMPLEMENTED names the field; INVALID_ARGUMENT for values that cannot be; NOT_FOUND for another
// model.
absl::StatusOr<GenerateParams> FromProto(const v1::GenerateRequest& request,
                                         const ServedModel& model);

}  // namespace pagoda
