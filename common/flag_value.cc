#include "common/flag_value.h"

#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <type_traits>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/escape.h"

namespace pagoda::flags_internal {
namespace {

using List = std::vector<std::string>;

struct SizeUnit {
  absl::string_view suffix;
  uint64_t bytes;
};

// Longest suffix first where one ends another.
constexpr SizeUnit kSizeUnits[] = {{"kib", uint64_t{1} << 10},
                                   {"mib", uint64_t{1} << 20},
                                   {"gib", uint64_t{1} << 30},
                                   {"tib", uint64_t{1} << 40},
                                   {"kb", 1000},
                                   {"mb", 1'000'000},
                                   {"gb", 1'000'000'000},
                                   {"tb", 1000ull * 1'000'000'000},
                                   {"b", 1}};

bool ParseSize(absl::string_view text, uint64_t* bytes) {
  std::string number = absl::AsciiStrToLower(text);
  uint64_t unit = 1;
  for (const SizeUnit& u : kSizeUnits) {
    if (!absl::EndsWith(number, u.suffix)) continue;
    number.resize(number.size() - u.suffix.size());
    unit = u.bytes;
    break;
  }
  uint64_t whole;
  if (absl::SimpleAtoi(number, &whole)) return !__builtin_mul_overflow(whole, unit, bytes);
  double value;
  if (unit == 1 || number.find_first_not_of("0123456789.") != std::string::npos) return false;
  if (!absl::SimpleAtod(number, &value) || value * static_cast<double>(unit) >= 0x1p64)
    return false;
  *bytes = static_cast<uint64_t>(value * static_cast<double>(unit));
  return true;
}

std::string ShowSize(uint64_t bytes) {
  constexpr std::array<absl::string_view, 4> kNames = {"TiB", "GiB", "MiB", "KiB"};
  for (size_t i = 0; i < kNames.size() && bytes != 0; ++i) {
    const uint64_t unit = uint64_t{1} << (10 * (kNames.size() - i));
    if (bytes % unit == 0) return absl::StrCat(bytes / unit, kNames[i]);
  }
  return absl::StrCat(bytes);
}

std::string ShowDouble(double value) {
  char buffer[32];
  const std::to_chars_result end = std::to_chars(buffer, buffer + sizeof(buffer), value);
  return std::string(buffer, end.ptr);
}

bool ParseText(absl::string_view text, bool* value) { return absl::SimpleAtob(text, value); }
bool ParseText(absl::string_view text, double* value) {
  return absl::SimpleAtod(text, value) && std::isfinite(*value);
}
bool ParseText(absl::string_view text, absl::Duration* value) {
  return absl::ParseDuration(text, value) && absl::AbsDuration(*value) != absl::InfiniteDuration();
}
template <class T>
  requires std::is_integral_v<T>
bool ParseText(absl::string_view text, T* value) {
  return absl::SimpleAtoi(text, value);
}

std::string ShowBound(const Flag& flag, double bound) {
  if (std::holds_alternative<absl::Duration*>(flag.target)) {
    return absl::FormatDuration(absl::Seconds(bound));
  }
  if (std::holds_alternative<ByteSize>(flag.target)) return ShowSize(static_cast<uint64_t>(bound));
  if (std::holds_alternative<double*>(flag.target)) return ShowDouble(bound);
  return absl::StrCat(static_cast<int64_t>(bound));
}

std::string Kind(const Flag& flag) {
  if (!flag.choices.empty()) return absl::StrCat("one of ", absl::StrJoin(flag.choices, ", "));
  if (std::holds_alternative<bool*>(flag.target)) return "true or false";
  if (std::holds_alternative<double*>(flag.target)) return "a finite number";
  if (std::holds_alternative<ByteSize>(flag.target)) return "a size (4GiB, 512MB, 4096)";
  if (std::holds_alternative<absl::Duration*>(flag.target)) return "a duration (2s, 500ms)";
  return "an integer";
}

// What the type cannot express or rarely wants below zero has a bound without being told.
std::optional<double> LowerBound(const Flag& flag) {
  const bool natural = std::holds_alternative<absl::Duration*>(flag.target) ||
                       std::holds_alternative<uint64_t*>(flag.target);
  return flag.min || !natural ? flag.min : 0;
}

// "an integer from 1 to 8".
std::string Takes(const Flag& flag) {
  const std::optional<double> min = LowerBound(flag);
  const std::string from = min ? ShowBound(flag, *min) : "";
  const std::string to = flag.max ? ShowBound(flag, *flag.max) : "";
  if (min && flag.max) return absl::StrCat(Kind(flag), " from ", from, " to ", to);
  if (min) return absl::StrCat(Kind(flag), " of at least ", from);
  if (flag.max) return absl::StrCat(Kind(flag), " of at most ", to);
  return Kind(flag);
}

absl::Status Refuse(const Flag& flag, absl::string_view text) {
  return absl::InvalidArgumentError(
      absl::StrCat("takes ", Takes(flag), ", got ", JsonQuote(text.substr(0, 200))));
}

template <class T>
double AsDouble(T value) {
  if constexpr (std::is_same_v<T, absl::Duration>) {
    return absl::ToDoubleSeconds(value);
  } else {
    return static_cast<double>(value);
  }
}

// Stores `value` if it is inside the flag's bounds.
template <class T>
absl::Status StoreInBounds(const Flag& flag, absl::string_view text, T value, T* target) {
  const double comparable = AsDouble(value);
  const std::optional<double> min = LowerBound(flag);
  if ((min && comparable < *min) || (flag.max && comparable > *flag.max)) {
    return Refuse(flag, text);
  }
  *target = value;
  return absl::OkStatus();
}

absl::Status Store(const Flag& flag, absl::string_view text, std::string* target) {
  bool allowed = flag.choices.empty();
  for (const std::string& choice : flag.choices) allowed = allowed || text == choice;
  if (!allowed) return Refuse(flag, text);
  *target = std::string(text);
  return absl::OkStatus();
}

absl::Status Store(const Flag&, absl::string_view text, List* target) {
  target->emplace_back(text);
  return absl::OkStatus();
}

absl::Status Store(const Flag& flag, absl::string_view text, ByteSize target) {
  uint64_t bytes;
  if (!ParseSize(text, &bytes)) return Refuse(flag, text);
  return StoreInBounds(flag, text, bytes, target.value);
}

template <class T>
absl::Status Store(const Flag& flag, absl::string_view text, T* target) {
  T value;
  if (!ParseText(text, &value)) return Refuse(flag, text);
  return StoreInBounds(flag, text, value, target);
}

std::string Show(const bool* value) { return *value ? "true" : "false"; }
std::string Show(const double* value) { return ShowDouble(*value); }
std::string Show(const std::string* value) { return *value; }
std::string Show(const List* value) { return absl::StrJoin(*value, ","); }
std::string Show(const absl::Duration* value) { return absl::FormatDuration(*value); }
std::string Show(ByteSize size) { return ShowSize(*size.value); }
template <class T>
  requires std::is_integral_v<T>
std::string Show(const T* value) {
  return absl::StrCat(*value);
}

}  // namespace

bool HasTarget(const Flag& flag) {
  return std::visit(
      [](auto target) {
        if constexpr (std::is_same_v<decltype(target), ByteSize>) {
          return target.value != nullptr;
        } else {
          return target != nullptr;
        }
      },
      flag.target);
}

bool IsBool(const Flag& flag) { return std::holds_alternative<bool*>(flag.target); }

bool IsList(const Flag& flag) { return std::holds_alternative<List*>(flag.target); }

absl::Status ParseValue(const Flag& flag, absl::string_view text) {
  return std::visit([&](auto target) { return Store(flag, text, target); }, flag.target);
}

std::string ShowValue(const Flag& flag) {
  return std::visit([](auto target) { return Show(target); }, flag.target);
}

std::string YamlValue(const Flag& flag) {
  if (const auto* text = std::get_if<std::string*>(&flag.target)) return JsonQuote(**text);
  if (const auto* list = std::get_if<List*>(&flag.target)) {
    const auto quote = [](std::string* out, const std::string& s) { *out += JsonQuote(s); };
    return absl::StrCat("[", absl::StrJoin(**list, ", ", quote), "]");
  }
  return ShowValue(flag);
}

std::string Placeholder(const Flag& flag) {
  if (!flag.placeholder.empty()) return flag.placeholder;
  if (!flag.choices.empty()) return absl::StrJoin(flag.choices, "|");
  if (IsBool(flag)) return "";
  if (IsList(flag) || std::holds_alternative<std::string*>(flag.target)) return "TEXT";
  if (std::holds_alternative<double*>(flag.target)) return "X";
  if (std::holds_alternative<ByteSize>(flag.target)) return "SIZE";
  if (std::holds_alternative<absl::Duration*>(flag.target)) return "TIME";
  return "N";
}

}  // namespace pagoda::flags_internal
