// What a client asks for, before and after it was checked. Every entrance (gRPC, later HTTP) fills
// in GenerateParams; only Parse makes a ValidRequest, so none can skip a check.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/api/served_model.h"
#include "coordinator/core/request/request.h"

namespace pagoda {

// As received; unset values take the model's defaults.
struct GenerateParams {
  std::variant<std::string, std::vector<uint32_t>> prompt;  // text, or token ids
  std::optional<float> temperature;
  std::optional<float> top_p;
  std::optional<int32_t> top_k;
  std::optional<float> min_p;
  std::optional<uint64_t> seed;
  std::optional<uint32_t> max_tokens;
  std::optional<uint32_t> logprobs;
  std::vector<std::string> stop;
  std::vector<uint32_t> stop_token_ids;
  bool ignore_eos = false;
  absl::Time deadline = absl::InfiniteFuture();
};

inline constexpr uint32_t kMaxLogprobs = 20;
inline constexpr size_t kMaxStopTokenIds = 128;
inline constexpr uint64_t kMaxPromptBytes = 8 << 20;

class ValidRequest {
 public:
  const std::variant<std::string, std::vector<int32_t>>& prompt() const { return prompt_; }
  const std::vector<std::string>& stop() const { return stop_; }
  const std::optional<uint64_t>& seed() const { return seed_; }
  const std::optional<uint32_t>& max_tokens() const { return max_tokens_; }

  // All but prompt, id, log, and what the optional values above leave open.
  const core::RequestSpec& spec() const { return spec_; }

 private:
  friend absl::StatusOr<ValidRequest> Parse(GenerateParams params, const ServedModel& model);
  ValidRequest() = default;

  std::variant<std::string, std::vector<int32_t>> prompt_;
  std::vector<std::string> stop_;
  std::optional<uint64_t> seed_;
  std::optional<uint32_t> max_tokens_;
  core::RequestSpec spec_;
};

// INVALID_ARGUMENT says what was wrong, what was got and what the limit is.
absl::StatusOr<ValidRequest> Parse(GenerateParams params, const ServedModel& model);

}  // namespace pagoda
