#include "kernels/cuda/resources.h"

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "kernels/cuda/status.h"

namespace pagoda::cuda {

absl::StatusOr<DeviceBuffer> DeviceBuffer::Make(size_t bytes) {
  DeviceBuffer buffer;  // of this thread's device
  if (bytes == 0) return buffer;
  void* data = nullptr;
  RETURN_IF_ERROR(ToStatus(cudaMalloc(&data, bytes),
                           absl::StrCat("allocating ", bytes, " bytes of device memory")));
  buffer.data_.reset(data);
  buffer.bytes_ = bytes;
  return buffer;
}

absl::StatusOr<PinnedBuffer> PinnedBuffer::Make(size_t bytes) {
  PinnedBuffer buffer;
  if (bytes == 0) return buffer;
  void* data = nullptr;
  RETURN_IF_ERROR(ToStatus(cudaHostAlloc(&data, bytes, cudaHostAllocDefault),
                           absl::StrCat("allocating ", bytes, " bytes of page-locked memory")));
  buffer.data_.reset(data);
  buffer.bytes_ = bytes;
  return buffer;
}

absl::StatusOr<Stream> MakeStream() {
  cudaStream_t stream = nullptr;
  RETURN_IF_ERROR(
      ToStatus(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "making a stream"));
  return Stream(stream);
}

absl::StatusOr<Event> MakeEvent() {
  cudaEvent_t event = nullptr;
  constexpr unsigned kFlags = cudaEventDisableTiming | cudaEventBlockingSync;
  RETURN_IF_ERROR(ToStatus(cudaEventCreateWithFlags(&event, kFlags), "making an event"));
  return Event(event);
}

}  // namespace pagoda::cuda
