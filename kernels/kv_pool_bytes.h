// What of making a KV pool is the same on every device.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "kernels/kv_layout.h"

namespace pagoda {

// The bytes of a pool. INVALID_ARGUMENT or UNIMPLEMENTED for a layout that no backend has,
// RESOURCE_EXHAUSTED for one that no machine has.
absl::StatusOr<size_t> KvPoolBytes(const KvLayout& layout, int32_t num_blocks);

}  // namespace pagoda
