// Owners of what a device lends: memory, streams, events. Made at start, never in a step. The end
// of an owner waits for the work that uses it, and leaves the thread at the owner's device.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <memory>
#include <type_traits>

#include "absl/status/statusor.h"

namespace pagoda::cuda {

// Calls `kRelease` on what it owns, on the device of the thread that made it: any other would be
// woken, and its memory taken, by the call.
template <auto kRelease>
class Release {
 public:
  Release() { static_cast<void>(cudaGetDevice(&device_)); }
  template <class T>
  void operator()(T* owned) const {
    static_cast<void>(cudaSetDevice(device_));
    static_cast<void>(kRelease(owned));  // a device that is lost has nothing to give back
  }

 private:
  int device_ = 0;
};

// Bytes of device memory, aligned to 256. Fresh memory is undefined.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  // RESOURCE_EXHAUSTED when the device has not so much left. 0 bytes: an empty buffer.
  static absl::StatusOr<DeviceBuffer> Make(size_t bytes);

  size_t bytes() const { return bytes_; }
  template <class T = void>
  T* data() const {
    return static_cast<T*>(data_.get());
  }

 private:
  std::unique_ptr<void, Release<cudaFree>> data_;
  size_t bytes_ = 0;
};

// Page-locked host memory, which copies of a stream may use directly.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  static absl::StatusOr<PinnedBuffer> Make(size_t bytes);

  size_t bytes() const { return bytes_; }
  template <class T = void>
  T* data() const {
    return static_cast<T*>(data_.get());
  }

 private:
  std::unique_ptr<void, Release<cudaFreeHost>> data_;
  size_t bytes_ = 0;
};

using Stream = std::unique_ptr<std::remove_pointer_t<cudaStream_t>, Release<cudaStreamDestroy>>;
using Event = std::unique_ptr<std::remove_pointer_t<cudaEvent_t>, Release<cudaEventDestroy>>;

// A stream that waits for no other, and an event without a clock, for which a
// thread waits asleep.
absl::StatusOr<Stream> MakeStream();
absl::StatusOr<Event> MakeEvent();

}  // namespace pagoda::cuda
