// Which group serves a request.
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "coordinator/core/request/ids.h"

namespace pagoda::core {

struct GroupLoad {
  GroupId group;
  bool open = false;       // serves now
  uint32_t sequences = 0;  // running and waiting
};

// The least loaded group, open ones first; the lowest id among equals. Pure. REQUIRES: groups is
// not empty.
GroupId Route(absl::Span<const GroupLoad> groups);

}  // namespace pagoda::core
