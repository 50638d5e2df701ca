#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/kernels/cuda/cases.h"
#include "common/status.h"
#include "kernels/cuda/block_ops.h"
#include "kernels/cuda/status.h"

namespace pagoda::bench {

// Blocks of 16 tokens of 32 layers of 8 KV heads of 128, copied from one half of a pool into the
// other, scattered.
absl::Status MeasureBlockCopies(Meter& meter) {
  const size_t block_bytes = meter.quick() ? 8192 : size_t{2} << 20;
  const int32_t half = meter.quick() ? 4 : 128;
  ASSIGN_OR_RETURN(const cuda::DeviceBuffer pool,
                   meter.RandomBf16(size_t{2} * half * block_bytes / sizeof(uint16_t)));
  const cuda::BlockMemory memory = {pool.data<std::byte>(), block_bytes};
  for (const int32_t count : {half / 4, half}) {
    std::vector<BlockCopy> copies;
    copies.reserve(count);
    for (int32_t i = 0; i < count; ++i) copies.push_back({i, half + (i * 37 + 5) % half});
    const auto run = [&] {
      return cuda::ToStatus(RunCopyBlocks(memory, copies, meter.stream()), "copying blocks");
    };
    const double bytes = 2.0 * count * static_cast<double>(block_bytes);
    RETURN_IF_ERROR(
        meter.Measure({"block copies", Limit::kCopy, bytes},
                      {{absl::StrCat(count, " blocks of ", block_bytes >> 10, " KiB"), run}}));
  }
  return absl::OkStatus();
}

}  // namespace pagoda::bench
