// RoPE's inverse frequencies, scaled as config.json asks, in double.
#pragma once

#include <cstdint>
#include <vector>

#include "worker/model/model_config.h"

namespace pagoda {

// One per rotated pair, head_dim / 2 of them: theta^(-2i / head_dim), then
//   linear  divided by factor;
//   llama3  by wavelength: long ones divided by factor, short ones kept, a smooth mix between
//           original_max_position_embeddings / low_freq_factor and / high_freq_factor.
std::vector<double> InverseFrequencies(const RopeConfig& rope, int64_t head_dim);

}  // namespace pagoda
