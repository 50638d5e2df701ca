// Plans and actions as short lines: what tests compare and reviewers read.
#pragma once

#include <string>

#include "coordinator/core/action.h"
#include "coordinator/core/scheduler/plan.h"

namespace pagoda::core {

// "7: unbind 1; bind 0 [1 2 | 101]; append 0 4-6; chunk 0 3; hold 2". After the number, "s" marks a
// snapshot and "d" a digest; a bar stands between prompt and generated tokens. Steady decode is
// "7:".
std::string PlanText(const StepPlan& plan);

// "plan 7: ...", "append 3 accept 1", "emit 1 2", "end 1 OK stop 2", "open epoch 1 ...",
// "drop epoch 1: ...". Groups other than 0 come with their number.
std::string ActionText(const Action& action);

}  // namespace pagoda::core
