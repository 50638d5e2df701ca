// What the core knows of a request, and the state of its sequence.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/core/request/ids.h"
#include "coordinator/core/request/token_log.h"

namespace pagoda::core {

// How a sequence draws; mirrors SamplingParams of worker.proto. All values are final: defaults of
// the model are filled in and the seed is drawn before a request reaches the core.
struct SamplingParams {
  float temperature = 1;  // 0: argmax
  float top_p = 1;
  int32_t top_k = 0;  // 0: all
  float min_p = 0;
  uint64_t seed = 0;
  int32_t logprobs = -1;  // -1: none; else of the drawn token and this many most likely ones
};

// A request that passed every check which needs no state: tokens within the vocabulary, values
// within limits.
struct RequestSpec {
  RequestId id;
  // Where the generated tokens go; the submitter keeps a reference to read them.
  std::shared_ptr<TokenLog> log;
  std::vector<int32_t> stop_token_ids;  // drawing one ends the sequence; sorted
  std::vector<int32_t> prompt;          // 1 <= size
  uint32_t max_tokens = 0;              // >= 1; prompt + max_tokens <= max_model_len
  SamplingParams sampling;
  absl::Time deadline = absl::InfiniteFuture();
};

enum class FinishReason { kNone, kStop, kLength, kCancelled };

}  // namespace pagoda::core
