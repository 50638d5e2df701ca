// The ops of a plan, applied to the lanes and to the device in their order.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "kernels/backend.h"
#include "proto/pagoda/v1/worker.pb.h"
#include "worker/runner/lanes.h"

namespace pagoda {

// UNIMPLEMENTED, naming the message, when it or a message inside has a field that this build does
// not know.
absl::Status CheckNoUnknownFields(const v1::Plan& plan);

// One epoch's. One thread.
class PlanOps {
 public:
  // All outlive this.
  PlanOps(Lanes& lanes, Backend& backend, KvPool& pool)
      : lanes_(lanes), backend_(backend), pool_(pool) {}

  // INVALID_ARGUMENT or UNIMPLEMENTED with the op's number and name. Ops before it have happened
  // then.
  absl::Status Apply(const v1::Plan& plan);

 private:
  absl::Status ApplyOne(const v1::Op& op);
  absl::Status Bind(const v1::Bind& bind);
  absl::Status Fork(const v1::Fork& fork);
  absl::Status Truncate(const v1::Truncate& truncate);
  absl::Status Copy(const v1::BlockPair& pair);
  absl::Status Zero(const v1::BlockRun& run);

  Lanes& lanes_;
  Backend& backend_;
  KvPool& pool_;
  std::vector<int32_t> zeroed_;
};

}  // namespace pagoda
