// Every kernel of one instruction set. Picked once per backend.
#pragma once

#include "kernels/cpu/attention.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/linear.h"
#include "kernels/cpu/row_ops.h"
#include "kernels/cpu/sampling_kernels.h"

namespace pagoda::cpu {

struct CpuKernels {
  LinearFn linear;
  AddNormFn add_norm;
  RopeFn rope;
  AttentionFn attention;
  const SamplingKernels* sampling;
};

CpuKernels KernelsFor(Isa isa);

}  // namespace pagoda::cpu
