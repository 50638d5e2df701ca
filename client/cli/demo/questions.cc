#include "client/cli/demo/questions.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace pagoda {
namespace {

using nlohmann::json;

bool IsQuestion(const json& value) {
  return value.is_object() && value.contains("name") && value["name"].is_string() &&
         value.contains("prompt") && value["prompt"].is_string() && value.contains("max_tokens") &&
         value["max_tokens"].is_number_unsigned();
}

}  // namespace

std::string Question::Spoken() const {
  static constexpr char kUser[] = "user\n";
  const size_t begin = prompt.find(kUser);
  if (begin == std::string::npos) return prompt;
  const size_t from = begin + sizeof(kUser) - 1;
  return prompt.substr(from, prompt.find("<|im_end|>", from) - from);
}

absl::StatusOr<std::vector<Question>> ReadQuestions(const std::string& model) {
  const std::string path = absl::StrCat(model, "/questions.json");
  std::ifstream file(path);
  const json parsed = json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_array()) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is no JSON array of questions"));
  }
  std::vector<Question> questions;
  for (const json& value : parsed) {
    if (!IsQuestion(value)) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": question ", questions.size(), " lacks name, prompt or max_tokens"));
    }
    questions.push_back({.name = value["name"].get<std::string>(),
                         .prompt = value["prompt"].get<std::string>(),
                         .max_tokens = value["max_tokens"].get<uint32_t>()});
  }
  return questions;
}

}  // namespace pagoda
