// What a group can hold, from its ranks' answers to Profile and the server's flags.
#pragma once

#include <cstdint>

namespace pagoda::core {

struct GroupCapacity {
  uint32_t num_blocks = 0;  // usable blocks of the pool, >= 1
  uint32_t block_size = 0;  // tokens
  uint32_t max_lanes = 0;
  uint32_t max_step_tokens = 0;
  uint32_t max_model_len = 0;
};

}  // namespace pagoda::core
