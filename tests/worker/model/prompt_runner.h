// Runs one prompt through a model on the CPU backend, without the worker's runner.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "worker/model/decoder.h"

namespace pagoda::testing {

// How the prompt is read; no way may change a bit of the logits.
struct Way {
  std::string isa;
  int32_t chunk = 0;  // tokens of a step
  int32_t block_size = 0;
};

// For each instruction set of this machine: all tokens at once, and chunks that no block holds
// evenly.
std::vector<Way> Ways(int32_t tokens);

// The logits at every position, [tokens][vocabulary]. Its errors are those of loading, of the pool
// and of the steps.
absl::StatusOr<std::vector<float>> PromptLogits(const LoadOptions& options,
                                                const std::vector<int32_t>& tokens,
                                                const Way& way);

}  // namespace pagoda::testing
