// The texts a flag table generates: help, Markdown and YAML.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/flag_value.h"
#include "common/flags.h"

namespace pagoda {
namespace {

constexpr size_t kHelpWidth = 100;
constexpr size_t kMaxLeftColumn = 34;

// "--name N", "--[no-]name".
std::string Left(const Flag& flag) {
  if (flags_internal::IsBool(flag)) return absl::StrCat("--[no-]", flag.name);
  return absl::StrCat("--", flag.name, " ", flags_internal::Placeholder(flag));
}

// "256 sequences".
std::string DefaultWithUnit(const std::string& shown, const Flag& flag) {
  if (shown.empty() || flag.unit.empty() || !flag.default_text.empty()) return shown;
  return absl::StrCat(shown, " ", flag.unit);
}

// Appends `text`, broken at spaces, in the column that begins at `indent`, where the line stands.
void AppendWrapped(const std::string& text, size_t indent, std::string* out) {
  size_t column = indent;
  for (absl::string_view word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    if (column > indent && column + 1 + word.size() > kHelpWidth) {
      absl::StrAppend(out, "\n", std::string(indent, ' '));
      column = indent;
    } else if (column > indent) {
      *out += ' ';
      ++column;
    }
    absl::StrAppend(out, word);
    column += word.size();
  }
  *out += '\n';
}

std::string Cell(const std::string& text) { return absl::StrReplaceAll(text, {{"|", "\\|"}}); }

}  // namespace

std::vector<std::string> FlagSet::Groups() const {
  std::vector<std::string> groups;
  for (const Row& row : rows_) {
    if (std::find(groups.begin(), groups.end(), row.flag.group) == groups.end()) {
      groups.push_back(row.flag.group);
    }
  }
  return groups;
}

std::string FlagSet::Help() const {
  size_t left_width = 0;
  for (const Row& row : rows_) {
    const size_t width = Left(row.flag).size();
    if (width <= kMaxLeftColumn) left_width = std::max(left_width, width);
  }
  const size_t indent = 2 + left_width + 2;
  std::string out;
  for (const std::string& group : Groups()) {
    absl::StrAppend(&out, out.empty() ? "" : "\n", group, ":\n");
    for (const Row& row : rows_) {
      if (row.flag.group != group) continue;
      std::string left = absl::StrCat("  ", Left(row.flag));
      if (left.size() + 2 > indent) {
        absl::StrAppend(&out, left, "\n", std::string(indent, ' '));
      } else {
        left.resize(indent, ' ');
        out += left;
      }
      const std::string shown = DefaultWithUnit(row.shown_default, row.flag);
      AppendWrapped(
          absl::StrCat(row.flag.help, shown.empty() ? "" : " [", shown, shown.empty() ? "" : "]"),
          indent,
          &out);
    }
  }
  return out;
}

std::string FlagSet::Markdown() const {
  std::string out;
  for (const std::string& group : Groups()) {
    absl::StrAppend(&out,
                    out.empty() ? "" : "\n",
                    "### ",
                    group,
                    "\n\n| Flag | Default | Meaning |\n|---|---|---|\n");
    for (const Row& row : rows_) {
      if (row.flag.group != group) continue;
      const std::string shown = DefaultWithUnit(row.shown_default, row.flag);
      absl::StrAppend(&out,
                      "| `",
                      Cell(Left(row.flag)),
                      "` | ",
                      Cell(shown.empty() ? "–" : shown),
                      " | ",
                      Cell(row.flag.help),
                      " |\n");
    }
  }
  return out;
}

std::string FlagSet::Yaml() const {
  std::string out;
  for (const std::string& group : Groups()) {
    absl::StrAppend(&out, "# ", group, "\n");
    for (const Row& row : rows_) {
      if (row.flag.group != group) continue;
      absl::StrAppend(&out, row.flag.name, ": ", flags_internal::YamlValue(row.flag), "\n");
    }
  }
  return out;
}

}  // namespace pagoda
