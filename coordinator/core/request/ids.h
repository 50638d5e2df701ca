// Strong ids of the coordinator's core.
#pragma once

#include <cstdint>

#include "common/ids.h"

namespace pagoda::core {

struct RequestIdTag;
struct GroupIdTag;
struct EpochTag;
struct StepTag;

using RequestId = StrongId<RequestIdTag, uint64_t>;  // drawn by whoever submits; never reused
using GroupId = StrongId<GroupIdTag, uint32_t>;      // one model replica
using Epoch = StrongId<EpochTag, uint64_t>;          // incarnation of a group, from 1
using Step = StrongId<StepTag, uint64_t>;            // within an epoch; 0 is the opening itself

}  // namespace pagoda::core
