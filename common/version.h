// The release; equal to the version in the root CMakeLists.txt (a test compares them).
#pragma once

namespace pagoda {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace pagoda
