#include "kernels/cuda/linear.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/kernels/cuda/cases.h"
#include "common/status.h"
#include "kernels/cuda/status.h"

namespace pagoda::bench {
namespace {

using cuda::DeviceBuffer;

// A timed run reads as many weights of the shape as make up this, so none is in the L2 cache.
constexpr size_t kWeightBytes = size_t{256} << 20;
// From here on the GEMM rate is the limit, below it the bandwidth that reads the weights.
constexpr int32_t kManyRows = 256;

// y [rows, out] f32 = x [rows, in] W^T.
struct Shape {
  int32_t in, out;
  int32_t slices;  // of the numeric contract: 8 where ranks divide K
};

// Both lengths are multiples of the tile's, so that nothing is padding. The values need no packing:
// they are random in any order.
cuda::PackedLinear Packed(const Shape& shape) {
  cuda::PackedLinear weight;
  weight.in = shape.in;
  weight.slices = shape.slices;
  weight.slice = weight.depth = shape.in / shape.slices;
  weight.columns = weight.out = shape.out;
  return weight;
}

absl::Status MeasureRows(Meter& meter,
                         const Shape& shape,
                         const std::vector<DeviceBuffer>& weights,
                         int32_t rows) {
  ASSIGN_OR_RETURN(const DeviceBuffer x, meter.RandomBf16(size_t{1} * rows * shape.in));
  ASSIGN_OR_RETURN(const DeviceBuffer y, DeviceBuffer::Make(sizeof(float) * rows * shape.out));
  cuda::LinearArgs args;
  args.weight = Packed(shape);
  args.x = x.data();
  args.x_stride = shape.in;
  args.y = y.data();
  args.y_stride = shape.out;
  args.rows = rows;
  const auto run = [&, args]() mutable -> absl::Status {
    for (const DeviceBuffer& weight : weights) {
      args.weight.data = weight.data();
      RETURN_IF_ERROR(cuda::ToStatus(RunLinear(args, meter.stream()), "a linear"));
    }
    return absl::OkStatus();
  };
  const int launches = static_cast<int>(weights.size());
  const size_t bytes = args.weight.Bytes() + x.bytes() + y.bytes();
  const Limit limit = rows < kManyRows ? Limit::kCopy : Limit::kGemm;
  const double one =
      limit == Limit::kCopy ? static_cast<double>(bytes) : 2.0 * rows * shape.in * shape.out;
  const std::string name =
      absl::StrCat("M = ", rows, ", ", shape.in, " to ", shape.out, ", ", shape.slices, " slices");
  return meter.Measure({"linear bf16", limit, one * launches, launches}, {{name, run}});
}

}  // namespace

absl::Status MeasureLinears(Meter& meter) {
  std::vector<Shape> shapes = {{4096, 4096, 8}, {4096, 14336, 1}, {14336, 4096, 8}};
  std::vector<int32_t> counts = {1, 16, 64, 512, 4096};
  if (meter.quick()) {
    shapes = {{128, 64, 2}};
    counts = {1, 17, 256};
  }
  for (const Shape& shape : shapes) {
    const size_t bytes = Packed(shape).Bytes();
    std::vector<DeviceBuffer> weights(meter.quick() ? 2 : (kWeightBytes + bytes - 1) / bytes);
    for (DeviceBuffer& weight : weights) {
      ASSIGN_OR_RETURN(weight, meter.RandomBf16(bytes / sizeof(uint16_t)));
    }
    for (const int32_t rows : counts) {
      RETURN_IF_ERROR(MeasureRows(meter, shape, weights, rows));
    }
  }
  return absl::OkStatus();
}

}  // namespace pagoda::bench
