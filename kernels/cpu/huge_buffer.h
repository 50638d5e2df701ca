// Zeroed memory straight from the kernel, aligned to 64 bytes at least, on huge pages where it is
// large enough: a step walks hundreds of megabytes, and 4 KiB pages would miss the TLB throughout.
// Pages are taken when first touched.
#pragma once

#include <cstddef>
#include <utility>

#include "absl/status/statusor.h"

namespace pagoda::cpu {

class HugeBuffer {
 public:
  // RESOURCE_EXHAUSTED when the address space is not to be had.
  static absl::StatusOr<HugeBuffer> Make(size_t bytes);

  HugeBuffer() = default;
  HugeBuffer(HugeBuffer&& other) noexcept { *this = std::move(other); }
  HugeBuffer& operator=(HugeBuffer&& other) noexcept {
    std::swap(map_, other.map_);
    std::swap(map_bytes_, other.map_bytes_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~HugeBuffer();

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  void* map_ = nullptr;
  size_t map_bytes_ = 0;
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace pagoda::cpu
