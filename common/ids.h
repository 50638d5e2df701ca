// Strong ids: integers that do not mix. struct LaneTag; using LaneId = StrongId<LaneTag, uint32_t>;
#pragma once

#include <compare>
#include <ostream>
#include <utility>

namespace pagoda {

template <class Tag, class Rep>
class StrongId {
 public:
  constexpr StrongId() = default;
  constexpr explicit StrongId(Rep value) : value_(value) {}

  constexpr Rep value() const { return value_; }

  friend constexpr bool operator==(StrongId, StrongId) = default;
  friend constexpr auto operator<=>(StrongId, StrongId) = default;

  template <class H>
  friend H AbslHashValue(H h, StrongId id) {
    return H::combine(std::move(h), id.value_);
  }

  // Prints the number, also for a Rep of one byte.
  friend std::ostream& operator<<(std::ostream& os, StrongId id) { return os << +id.value_; }

 private:
  Rep value_ = 0;
};

}  // namespace pagoda
