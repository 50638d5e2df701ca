// Loads and stores of a vector by element type (float, or uint16_t holding bf16), cut off at the
// end of the data.
#pragma once

#include <cstdint>
#include <type_traits>

namespace pagoda::cpu {

// The first min(left, 16) elements, zeros behind them; nothing else is read. `left` may be
// negative.
template <class S, class T>
typename S::F LoadAs(const T* p, int64_t left) {
  if constexpr (std::is_same_v<T, float>) {
    if (left >= S::kLanes) return S::Load(p);
    return S::LoadN(p, left < 0 ? 0 : static_cast<int>(left));
  } else {
    if (left >= S::kLanes) return S::LoadBf16(p);
    return S::LoadBf16N(p, left < 0 ? 0 : static_cast<int>(left));
  }
}

// The first min(left, 16) lanes, rounded to T.
template <class S, class T>
void StoreAs(T* p, typename S::F value, int64_t left) {
  if constexpr (std::is_same_v<T, float>) {
    if (left >= S::kLanes) return S::Store(p, value);
    S::StoreN(p, value, left < 0 ? 0 : static_cast<int>(left));
  } else {
    if (left >= S::kLanes) return S::StoreBf16(p, value);
    S::StoreBf16N(p, value, left < 0 ? 0 : static_cast<int>(left));
  }
}

}  // namespace pagoda::cpu
