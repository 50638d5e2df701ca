// Many requests at the same time, and what they took.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cpp/client.h"

namespace pagoda {

struct Load {
  std::vector<Completion> completions;  // in the order of the requests
  absl::Duration time;
  uint64_t tokens = 0;       // generated
  uint64_t peak_blocks = 0;  // KV blocks that the sequences under way filled at most, by length
};

// Sends up to `width` of the requests at once, each on a thread; the first error ends it.
absl::StatusOr<Load> Run(Client* client,
                         const std::vector<GenerateRequest>& requests,
                         size_t width,
                         uint32_t block_size);

}  // namespace pagoda
