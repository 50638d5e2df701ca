// The version of worker.proto that this coordinator speaks.
#pragma once

#include <cstdint>

namespace pagoda {

inline constexpr uint32_t kProtocolVersion = 1;

}  // namespace pagoda
