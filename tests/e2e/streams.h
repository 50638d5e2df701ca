// Many requests at once.
#pragma once

#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cpp/client.h"

namespace pagoda::e2e {

// Questions of the demo model, sampled with a seed each, that go on for `tokens` tokens whatever
// comes; token ids and log probabilities are asked for.
std::vector<GenerateRequest> SampledRequests(size_t count, uint32_t tokens);

// Runs all at once, a thread each. `on_delta` is called on those threads.
std::vector<absl::StatusOr<Completion>> RunAll(
    Client* client,
    const std::vector<GenerateRequest>& requests,
    const std::function<void(size_t index, const Delta& delta)>& on_delta = nullptr);

// Expects OK and the same text, token ids, log probabilities, end and system fingerprint for each.
void ExpectSame(const std::vector<absl::StatusOr<Completion>>& got,
                const std::vector<absl::StatusOr<Completion>>& want);

}  // namespace pagoda::e2e
