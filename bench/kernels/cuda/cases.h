// What is measured of each operation of kernels/cuda. Each function makes its inputs, measures, and
// frees them.
#pragma once

#include "absl/status/status.h"
#include "bench/kernels/cuda/meter.h"

namespace pagoda::bench {

// Paged decode and prefill; blocks of 16 beside KV that is contiguous.
absl::Status MeasureAttention(Meter& meter);
// bf16, 1 to 4096 rows.
absl::Status MeasureLinears(Meter& meter);
// AddNorm, and RoPE with the KV write.
absl::Status MeasureRowOps(Meter& meter);
absl::Status MeasureBlockCopies(Meter& meter);
absl::Status MeasureSampling(Meter& meter);

// All of them, in this order.
absl::Status MeasureAll(Meter& meter);

}  // namespace pagoda::bench
