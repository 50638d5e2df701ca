// UTF-8 as Unicode defines it: no overlong forms, surrogates or code points above U+10FFFF.
#pragma once

#include <cstddef>

#include "absl/strings/string_view.h"

namespace pagoda {

// Bytes (1 to 4) of the well-formed character at the start of `text`; 0 when there is none.
size_t Utf8CharLength(absl::string_view text);

// Bytes before the first ill-formed character; text.size() when there is none.
size_t Utf8ValidPrefix(absl::string_view text);

}  // namespace pagoda
