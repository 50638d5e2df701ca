// For tests of device code: arrays on the device, a stream, and what went wrong as a test failure.
#pragma once

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "common/check.h"
#include "kernels/cuda/resources.h"

namespace pagoda::cuda {

#define ASSERT_CUDA(expression) ASSERT_EQ(cudaGetErrorName(expression), std::string("cudaSuccess"))

// A copy of a host vector in device memory. Upload and Download wait.
template <class T>
class DeviceArray {
 public:
  DeviceArray(const std::vector<T>& values, const Stream& stream)
      : size_(values.size()), stream_(stream.get()) {
    auto made = DeviceBuffer::Make(size_ * sizeof(T));
    CHECK_OK(made);
    buffer_ = *std::move(made);
    const cudaError_t error =
        cudaMemcpyAsync(data(), values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice, stream_);
    CHECK_EQ(error, cudaSuccess);
    CHECK_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  }

  T* data() const { return buffer_.data<T>(); }

  std::vector<T> Download() const {
    std::vector<T> values(size_);
    const cudaError_t error =
        cudaMemcpyAsync(values.data(), data(), size_ * sizeof(T), cudaMemcpyDeviceToHost, stream_);
    CHECK_EQ(error, cudaSuccess);
    CHECK_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
    return values;
  }

 private:
  size_t size_;
  cudaStream_t stream_;
  DeviceBuffer buffer_;
};

inline Stream MakeStreamOrDie() {
  auto made = MakeStream();
  CHECK_OK(made);
  return *std::move(made);
}

}  // namespace pagoda::cuda
