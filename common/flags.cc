#include "common/flags.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "common/check.h"
#include "common/escape.h"
#include "common/flag_value.h"
#include "common/status.h"

namespace pagoda {
namespace {

using flags_internal::IsBool;
using flags_internal::IsList;

// Levenshtein distance.
size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

std::string EnvironmentName(absl::string_view flag_name) {
  return "PAGODA_" + absl::StrReplaceAll(absl::AsciiStrToUpper(flag_name), {{"-", "_"}});
}

bool IsName(absl::string_view name) {
  return !name.empty() &&
         name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == absl::string_view::npos;
}

}  // namespace

void FlagSet::Add(Flag flag) {
  CHECK(IsName(flag.name)) << flag.name;
  CHECK(!absl::StartsWith(flag.name, "no-")) << flag.name << ": --no- is how a bool is cleared";
  CHECK(Find(flag.name) == nullptr) << flag.name << ": added twice";
  CHECK(flags_internal::HasTarget(flag)) << flag.name << ": no variable";
  CHECK(flag.choices.empty() || std::holds_alternative<std::string*>(flag.target)) << flag.name;
  std::string shown =
      flag.default_text.empty() ? flags_internal::ShowValue(flag) : flag.default_text;
  rows_.push_back({std::move(flag), std::move(shown)});
}

const FlagSet::Row* FlagSet::Find(absl::string_view name) const {
  for (const Row& row : rows_) {
    if (row.flag.name == name) return &row;
  }
  return nullptr;
}

FlagSet::Row* FlagSet::Find(absl::string_view name) {
  return const_cast<Row*>(static_cast<const FlagSet*>(this)->Find(name));
}

bool FlagSet::IsSet(absl::string_view name) const {
  const Row* row = Find(name);
  CHECK(row != nullptr) << name;
  return row->set;
}

absl::Status FlagSet::Parse(const std::vector<std::string>& args) {
  for (size_t next = 0; next < args.size();) {
    const std::string& arg = args[next];
    if (arg == "--") {
      positional_.insert(positional_.end(), args.begin() + next + 1, args.end());
      break;
    }
    if (absl::StartsWith(arg, "--") ||
        (arg.size() > 1 && arg[0] == '-' && absl::ascii_isalpha(arg[1]))) {
      RETURN_IF_ERROR(ParseFlag(args, &next));
    } else {
      positional_.push_back(arg);
      ++next;
    }
  }
  return ParseEnvironment();
}

// Takes the flag at args[*next] and its value, and moves *next past them.
absl::Status FlagSet::ParseFlag(const std::vector<std::string>& args, size_t* next) {
  const std::string& arg = args[(*next)++];
  absl::string_view name = arg == "-h" ? "help" : absl::string_view(arg);
  if (arg != "-h" && !absl::ConsumePrefix(&name, "--")) return Unknown(arg);
  const size_t equals = name.find('=');
  const bool has_value = equals != absl::string_view::npos;
  absl::string_view value = has_value ? name.substr(equals + 1) : absl::string_view();
  name = name.substr(0, equals);

  Row* row = Find(name);
  if (row != nullptr && (has_value || !IsBool(row->flag))) {
    if (!has_value) {
      if (*next == args.size()) {
        return absl::InvalidArgumentError(
            absl::StrCat("--", name, " needs a value: ", flags_internal::Placeholder(row->flag)));
      }
      value = args[(*next)++];
    }
    return Set(*row, value, absl::StrCat("--", name));
  }
  if (row != nullptr) return Set(*row, "true", arg);
  row = absl::ConsumePrefix(&name, "no-") ? Find(name) : nullptr;
  if (row == nullptr || !IsBool(row->flag)) return Unknown(arg);
  if (has_value) return absl::InvalidArgumentError(absl::StrCat("--no-", name, " takes no value"));
  return Set(*row, "false", arg);
}

absl::Status FlagSet::ParseEnvironment() {
  for (Row& row : rows_) {
    if (row.set) continue;
    const std::string name = EnvironmentName(row.flag.name);
    const char* value = std::getenv(name.c_str());
    if (value != nullptr && *value != '\0') RETURN_IF_ERROR(Set(row, value, name));
  }
  return absl::OkStatus();
}

absl::Status FlagSet::Set(Row& row, absl::string_view value, absl::string_view origin) {
  if (IsList(row.flag) && !row.set) std::get<std::vector<std::string>*>(row.flag.target)->clear();
  row.set = true;
  absl::Status status = flags_internal::ParseValue(row.flag, value);
  if (status.ok()) return status;
  return absl::InvalidArgumentError(absl::StrCat(origin, " ", status.message()));
}

absl::Status FlagSet::Unknown(absl::string_view arg) const {
  absl::string_view name = arg.substr(0, arg.find('='));
  std::string message = absl::StrCat("unknown flag ", EscapeLine(name.substr(0, 200)));
  while (absl::ConsumePrefix(&name, "-")) {
  }
  const bool negated = absl::ConsumePrefix(&name, "no-");
  const Row* nearest = nullptr;
  size_t nearest_distance = std::max<size_t>(2, name.size() / 3) + 1;
  for (const Row& row : rows_) {
    const size_t distance = EditDistance(name, row.flag.name);
    if (distance < std::min(nearest_distance, row.flag.name.size())) {
      nearest = &row;
      nearest_distance = distance;
    }
  }
  if (nearest != nullptr) {
    const absl::string_view no = negated && IsBool(nearest->flag) ? "no-" : "";
    absl::StrAppend(&message, "; did you mean --", no, nearest->flag.name, "?");
  }
  return absl::InvalidArgumentError(message);
}

}  // namespace pagoda
