#include "bench/kernels/cuda/cases.h"

#include "common/status.h"

namespace pagoda::bench {

absl::Status MeasureAll(Meter& meter) {
  RETURN_IF_ERROR(MeasureAttention(meter));
  RETURN_IF_ERROR(MeasureLinears(meter));
  RETURN_IF_ERROR(MeasureRowOps(meter));
  RETURN_IF_ERROR(MeasureBlockCopies(meter));
  return MeasureSampling(meter);
}

}  // namespace pagoda::bench
