// The demo model's questions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace pagoda {

struct Question {
  std::string name;
  std::string prompt;  // in chat layout
  uint32_t max_tokens = 0;

  // What the user says in it.
  std::string Spoken() const;
};

// Of questions.json in a model directory.
absl::StatusOr<std::vector<Question>> ReadQuestions(const std::string& model);

}  // namespace pagoda
