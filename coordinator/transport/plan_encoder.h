// Writes a StepPlan as the bytes of proto Plan (worker.proto).
//
// Written out by hand because it runs once per step on the engine thread: into a buffer that is
// kept, without allocating in steady decode. Tests read its output back with the generated parser,
// field by field.
#pragma once

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "coordinator/core/scheduler/plan.h"

namespace pagoda {

class PlanEncoder {
 public:
  // The bytes are valid until the next call. `timeout` is rounded up to milliseconds.
  absl::string_view Encode(const core::StepPlan& plan, absl::Duration timeout);

 private:
  std::string bytes_;
  std::string op_;     // scratch: one Op
  std::string body_;   // scratch: one op's message
  std::string inner_;  // scratch: a message within that
};

}  // namespace pagoda
