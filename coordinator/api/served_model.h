// The model as clients see it; known once the first worker has loaded it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/core/request/capacity.h"

namespace pagoda {

struct ServedModel {
  std::string name;  // the directory's last part
  std::string architecture;
  std::string dtype;
  std::string fingerprint;
  uint32_t vocab_size = 0;
  std::vector<int32_t> eos_token_ids;  // ascending
  core::GroupCapacity capacity;

  // Of generation_config.json.
  std::optional<float> temperature;
  std::optional<float> top_p;
  std::optional<int32_t> top_k;
  std::optional<float> min_p;
};

}  // namespace pagoda
