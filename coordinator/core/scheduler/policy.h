// The scheduler's three policies: small pure objects, chosen where the core is built.
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "coordinator/core/scheduler/sequence.h"

namespace pagoda::core {

// Which waiting sequence comes first. A strict total order.
class Order {
 public:
  virtual ~Order() = default;
  virtual bool Before(const Sequence& a, const Sequence& b) const = 0;
};

// Which running sequence gives its blocks back. `candidates`, never empty, stand in running order
// and have no row in the plan at hand yet; answers an index among them. The first of all running
// sequences must only be chosen when it is the only candidate, so that somebody always gets on.
class Victim {
 public:
  virtual ~Victim() = default;
  virtual size_t Choose(absl::Span<Sequence* const> candidates) const = 0;
};

// Whether the next waiting sequence may start now.
class Admission {
 public:
  struct View {
    uint32_t blocks_needed = 0;  // for all its known tokens and one more
    uint32_t free_blocks = 0;
    uint32_t running = 0;
  };
  virtual ~Admission() = default;
  virtual bool Admit(const View& view) const = 0;
};

// First come, first served; the latest is preempted; a sequence starts when its history fits. They
// live forever.
struct Policies {
  const Order* order;
  const Victim* victim;
  const Admission* admission;
};
Policies FirstComeFirstServed();

}  // namespace pagoda::core
