// What the flag table does with one value, by the type of its target. Private to flags*.cc.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/flags.h"

namespace pagoda::flags_internal {

bool HasTarget(const Flag& flag);  // the pointer is not null
bool IsBool(const Flag& flag);
bool IsList(const Flag& flag);

// Sets the target, or appends to it if it is a list. The error says what the flag takes and what it
// got, not the flag's name.
absl::Status ParseValue(const Flag& flag, absl::string_view text);

// The target's value as the command line would give it; lists joined by commas.
std::string ShowValue(const Flag& flag);

// The target's value as YAML.
std::string YamlValue(const Flag& flag);

// "N", "SIZE", "auto|scalar|avx2"; empty for bools.
std::string Placeholder(const Flag& flag);

}  // namespace pagoda::flags_internal
