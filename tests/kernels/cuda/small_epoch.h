// An epoch and a pool for tests that run no model.
#pragma once

#include "kernels/backend.h"

namespace pagoda::cuda {

inline constexpr KvLayout kSmallLayout = {.num_layers = 2,
                                          .num_kv_heads = 1,
                                          .head_dim = 64,
                                          .block_size = 8};
inline constexpr StepLimits kSmallLimits = {.max_tokens = 8,
                                            .max_lanes = 2,
                                            .max_logits_rows = 2,
                                            .max_sample_rows = 2,
                                            .max_model_len = 64,
                                            .vocab_size = 32,
                                            .head_dim = 64};

}  // namespace pagoda::cuda
