// What a line on a child's stderr is: common/log.h's in either format, or anything else (a crash
// report, a message of the loader).
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace pagoda {

// Whether it may say why a process ended: anything but information and warnings in log format.
bool IsErrorLine(absl::string_view line);

// What an error line says to a person: its `reason` if it has one, else its message with its
// fields; a line in another format as it is.
std::string ErrorText(absl::string_view line);

}  // namespace pagoda
