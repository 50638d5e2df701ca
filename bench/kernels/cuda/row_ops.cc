#include "kernels/cuda/row_ops.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/kernels/cuda/cases.h"
#include "common/status.h"
#include "kernels/cuda/status.h"
#include "kernels/kv_layout.h"

namespace pagoda::bench {
namespace {

using cuda::DeviceBuffer;

constexpr float kEpsilon = 1e-5f;

absl::Status MeasureNorm(Meter& meter, int32_t rows, int32_t size) {
  const size_t count = size_t{1} * rows * size;
  ASSIGN_OR_RETURN(const DeviceBuffer residual, meter.RandomF32(count));
  ASSIGN_OR_RETURN(const DeviceBuffer delta, meter.RandomF32(count));
  ASSIGN_OR_RETURN(const DeviceBuffer weight, meter.RandomF32(size));
  ASSIGN_OR_RETURN(const DeviceBuffer out, DeviceBuffer::Make(count * sizeof(uint16_t)));
  const cuda::AddNormArgs args = {.residual = residual.data<float>(),
                                  .delta = delta.data<float>(),
                                  .weight = weight.data<float>(),
                                  .out = out.data(),
                                  .residual_stride = size,
                                  .delta_stride = size,
                                  .out_stride = size,
                                  .rows = rows,
                                  .size = size,
                                  .epsilon = kEpsilon};
  const auto run = [&] { return cuda::ToStatus(RunAddNorm(args, meter.stream()), "a norm"); };
  const size_t bytes = 2 * residual.bytes() + delta.bytes() + out.bytes();
  return meter.Measure({"add and norm", Limit::kCopy, static_cast<double>(bytes)},
                       {{absl::StrCat(rows, " x ", size), run}});
}

// Row i is position i of one sequence, in blocks of 16.
absl::Status MeasureRope(Meter& meter, int32_t rows, int32_t heads, int32_t kv_heads) {
  const KvLayout layout = {1, kv_heads, 128, 16, DType::kBf16};
  const int32_t width = (heads + 2 * kv_heads) * layout.head_dim;
  std::vector<StepToken> tokens;
  tokens.reserve(rows);
  for (int32_t i = 0; i < rows; ++i) {
    tokens.push_back({0, 0, i, i / layout.block_size, i % layout.block_size});
  }
  ASSIGN_OR_RETURN(const DeviceBuffer steps, meter.Upload(tokens));
  ASSIGN_OR_RETURN(const DeviceBuffer qkv, meter.RandomF32(size_t{1} * rows * width));
  ASSIGN_OR_RETURN(const DeviceBuffer table, meter.RandomF32(size_t{1} * rows * layout.head_dim));
  ASSIGN_OR_RETURN(const DeviceBuffer q,
                   DeviceBuffer::Make(sizeof(uint16_t) * rows * heads * layout.head_dim));
  ASSIGN_OR_RETURN(const DeviceBuffer kv,
                   DeviceBuffer::Make(layout.BlockBytes() * (rows / layout.block_size + 1)));
  const cuda::RopeArgs args = {.rows = steps.data<StepToken>(),
                               .num_rows = rows,
                               .qkv = qkv.data<float>(),
                               .qkv_stride = width,
                               .cos_sin = table.data<float>(),
                               .pairs = layout.head_dim / 2,
                               .num_heads = heads,
                               .num_kv_heads = kv_heads,
                               .head_dim = layout.head_dim,
                               .q = q.data(),
                               .q_stride = int64_t{1} * heads * layout.head_dim,
                               .kv = kv.data<std::byte>(),
                               .head_bytes = layout.TileBytes(),
                               .v_bytes = layout.VTileOffset(0, 0),
                               .block_bytes = layout.BlockBytes()};
  const auto run = [&] { return cuda::ToStatus(RunRopeAndStoreKv(args, meter.stream()), "rope"); };
  // f32 in; bf16 out, as much of it; and the table.
  const size_t bytes = qkv.bytes() + qkv.bytes() / 2 + table.bytes();
  return meter.Measure(
      {"rope and KV write", Limit::kCopy, static_cast<double>(bytes)},
      {{absl::StrCat(rows, " rows, ", heads, " and ", kv_heads, " heads of 128"), run}});
}

}  // namespace

absl::Status MeasureRowOps(Meter& meter) {
  const std::vector<int32_t> counts =
      meter.quick() ? std::vector<int32_t>{3} : std::vector<int32_t>{64, 4096};
  for (const int32_t rows : counts) {
    RETURN_IF_ERROR(MeasureNorm(meter, rows, meter.quick() ? 256 : 4096));
  }
  for (const int32_t rows : counts) {
    RETURN_IF_ERROR(meter.quick() ? MeasureRope(meter, rows, 2, 1)
                                  : MeasureRope(meter, rows, 32, 8));
  }
  return absl::OkStatus();
}

}  // namespace pagoda::bench
