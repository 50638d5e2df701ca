// Small JSON files of a model directory, read without exceptions. Private to this folder: it brings
// in all of nlohmann/json, so only .cc files include it.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace pagoda {

// Parses `text` into a JSON object. InvalidArgument, naming `file`, when it is no JSON, no object,
// names a member twice or nests deeper than 64.
absl::StatusOr<nlohmann::json> ParseJsonObject(const std::string& file, absl::string_view text);

// Typed, range-checked access to the members of an object. The first error sticks in status() and
// later calls do nothing, so that a list of reads needs one check. A member that is null counts as
// absent. Errors are InvalidArgument and name file and field, with what was found and the limits.
class JsonFields {
 public:
  // `object` must outlive this; `prefix` names it inside the file: "rope_scaling.".
  JsonFields(std::string file, const nlohmann::json& object, std::string prefix = "")
      : file_(std::move(file)), object_(object), prefix_(std::move(prefix)) {}

  bool Has(absl::string_view field) const { return Find(field) != nullptr; }

  // Each leaves `*value` alone when the field is absent; RequireInt makes that an error.
  void Int(absl::string_view field, int64_t min, int64_t max, int64_t* value);
  void RequireInt(absl::string_view field, int64_t min, int64_t max, int64_t* value);
  void Number(absl::string_view field, double min, double max, double* value);
  void Number(absl::string_view field, double min, double max, std::optional<double>* value);
  void Bool(absl::string_view field, bool* value);
  void String(absl::string_view field, std::string* value);
  void Strings(absl::string_view field, std::vector<std::string>* value);
  // One integer or a list of them, appended.
  void Ints(absl::string_view field, int64_t min, int64_t max, std::vector<int64_t>* value);

  // The object of that name; null when absent.
  const nlohmann::json* Object(absl::string_view field);

  void Fail(absl::string_view field, absl::string_view what);
  const absl::Status& status() const { return status_; }

 private:
  // Null when absent, null, or after an error.
  const nlohmann::json* Find(absl::string_view field) const;
  bool CheckInt(absl::string_view field, const nlohmann::json& item, int64_t min, int64_t max);

  std::string file_;
  const nlohmann::json& object_;
  std::string prefix_;
  absl::Status status_;
};

}  // namespace pagoda
