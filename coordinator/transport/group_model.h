// What the ranks of a group found, put together.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/core/request/capacity.h"
#include "coordinator/transport/pool_size.h"
#include "proto/pagoda/v1/worker.pb.h"

namespace pagoda {

struct GroupModel {
  v1::ModelInfo info;       // of rank 0
  std::string fingerprint;  // of the whole model: 16 hex digits, the same for any number of ranks
  core::GroupCapacity capacity;
};

// By rank. The pool is that of the rank which can hold least; ranks of one host divide what its
// memory has left. INVALID_ARGUMENT when the ranks do not hold parts of one model; else as
// SizePool.
absl::StatusOr<GroupModel> PutTogether(const std::vector<v1::ModelInfo>& models,
                                       const std::vector<v1::ProfileResponse>& profiles,
                                       const PoolFlags& flags);

}  // namespace pagoda
