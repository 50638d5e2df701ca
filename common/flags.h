// The flag table of a program: rows bound to variables. One table gives parsing, environment names,
// --help, the README's list and a YAML dump of what is in force. One thread.
//
//   FlagSet flags;
//   flags.Add({.name = "max-num-seqs", .group = "Scheduling", .target = &options.max_num_seqs,
//              .help = "Sequences running at once.", .unit = "sequences", .min = 1});
//   RETURN_IF_ERROR(flags.Parse({argv + 1, argv + argc}));
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace pagoda {

// A target that takes a size: 4GiB, 512MB, 1.5GiB, 4096. (kB, MB, GB, TB are powers of 1000.)
struct ByteSize {
  uint64_t* value = nullptr;
};

struct Flag {
  using Target = std::variant<bool*,
                              int*,
                              int64_t*,
                              uint64_t*,
                              double*,
                              std::string*,
                              std::vector<std::string>*,  // repeated: --stop a --stop b
                              absl::Duration*,            // 2s, 500ms, 1m30s
                              ByteSize>;

  std::string name{};                  // lower case with hyphens, without the dashes
  std::string group{};                 // heading in help; rows of a group stand together
  Target target{};                     // outlives the FlagSet; its value at Add() is the default
  std::string help{};                  // one sentence
  std::string placeholder{};           // the value's name in help; empty for the type's own
  std::string unit{};                  // "tokens", "blocks"; shown after the default
  std::string default_text{};          // shown instead of the target's value: "from the model"
  std::vector<std::string> choices{};  // the only values of a std::string target
  std::optional<double> min{};         // inclusive; seconds, bytes; durations have 0
  std::optional<double> max{};
};

class FlagSet {
 public:
  // REQUIRES: a new name without "no-" at its start; a target that is not null.
  void Add(Flag flag);

  // `args` without the program's name. --name value, --name=value; bools --name, --no-name,
  // --name=true|false; "--" ends the flags; -h is --help. The last of a repeated flag counts; lists
  // collect. An unset flag takes the environment's PAGODA_<NAME>, where that is set and not empty.
  // InvalidArgument names the flag, what it takes and what it got; targets may then be half set.
  absl::Status Parse(const std::vector<std::string>& args);

  // What was neither flag nor value, in order.
  const std::vector<std::string>& positional() const { return positional_; }

  // Whether the command line or the environment gave it. REQUIRES: a flag of this set.
  bool IsSet(absl::string_view name) const;

  std::string Help() const;      // groups in order of their first row
  std::string Markdown() const;  // a table per group
  std::string Yaml() const;      // values in force, "name: value"

 private:
  struct Row {
    Flag flag;
    std::string shown_default;
    bool set = false;
  };

  Row* Find(absl::string_view name);
  const Row* Find(absl::string_view name) const;
  absl::Status Unknown(absl::string_view arg) const;
  absl::Status ParseFlag(const std::vector<std::string>& args, size_t* next);
  absl::Status ParseEnvironment();
  absl::Status Set(Row& row, absl::string_view value, absl::string_view origin);
  std::vector<std::string> Groups() const;

  std::vector<Row> rows_;
  std::vector<std::string> positional_;
};

}  // namespace pagoda
