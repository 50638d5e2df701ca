#include "coordinator/core/scheduler/router.h"

#include <algorithm>
#include <tuple>

#include "common/check.h"

namespace pagoda::core {

GroupId Route(absl::Span<const GroupLoad> groups) {
  CHECK(!groups.empty());
  const auto key = [](const GroupLoad& load) {
    return std::make_tuple(!load.open, load.sequences, load.group);
  };
  return std::min_element(groups.begin(),
                          groups.end(),
                          [&](const GroupLoad& a, const GroupLoad& b) { return key(a) < key(b); })
      ->group;
}

}  // namespace pagoda::core
