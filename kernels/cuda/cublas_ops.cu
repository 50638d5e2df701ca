#include "kernels/cuda/cublas_ops.h"
#include "kernels/cuda/device_math.h"
#include "kernels/cuda/launch.h"

namespace pagoda::cuda {
namespace {

constexpr int kThreads = 128;

struct alignas(16) EightElements {
  uint16_t elements[8];
};

// A CTA per row.
__global__ void __launch_bounds__(kThreads)
    GatherRows(__grid_constant__ const GatherRowsArgs args) {
  const int64_t row = blockIdx.x;
  const auto* const x =
      static_cast<const EightElements*>(args.x) + int64_t{args.x_row[row]} * args.x_stride / 8;
  auto* const out = static_cast<EightElements*>(args.out) + row * args.out_stride / 8;
  const int pieces = (args.in + 7) / 8;
  for (int i = static_cast<int>(threadIdx.x); i < pieces; i += kThreads) out[i] = x[i];
}

// A CTA per row.
__global__ void __launch_bounds__(kThreads) SiluMulRows(__grid_constant__ const SiluMulArgs args) {
  const int64_t row = blockIdx.x;
  const float* const columns = args.columns + row * args.weight.columns;
  const float* const bias = args.weight.bias;
  uint16_t* const y = static_cast<uint16_t*>(args.y) + row * args.y_stride;
  for (int i = static_cast<int>(threadIdx.x); i < args.weight.out; i += kThreads) {
    const int gate = i / 8 * 16 + i % 8, up = gate + 8;  // as PackedColumn says
    const float a = bias == nullptr ? columns[gate] : __fadd_rn(columns[gate], bias[gate]);
    const float b = bias == nullptr ? columns[up] : __fadd_rn(columns[up], bias[up]);
    y[i] = F32ToBf16(SiluMul(a, b));
  }
}

LaunchShape RowShape(const char* name, int32_t rows, cudaStream_t stream) {
  return {name, static_cast<unsigned>(rows), kThreads, 0, stream};
}

}  // namespace

cudaError_t RunGatherRows(const GatherRowsArgs& args, cudaStream_t stream) {
  return Launch(RowShape("GatherRows", args.rows, stream), GatherRows, args);
}

cudaError_t RunSiluMul(const SiluMulArgs& args, cudaStream_t stream) {
  return Launch(RowShape("SiluMulRows", args.rows, stream), SiluMulRows, args);
}

}  // namespace pagoda::cuda
