// Text made safe for a JSON document and for a terminal.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace pagoda {

// A JSON string with its quotes, for any bytes. Control and bidirectional-format characters become
// \u escapes; a byte that is not UTF-8 becomes the four characters \xNN.
std::string JsonQuote(absl::string_view text);

// The same escapes without quotes, and with quotes and backslashes left as they are: readable text
// that stays on its line and cannot move a terminal's cursor.
std::string EscapeLine(absl::string_view text);

}  // namespace pagoda
