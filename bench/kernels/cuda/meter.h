// Times kernels by the device's clock, each in turn with the limit that it is compared with: a copy
// in device memory, or a GEMM of cuBLAS. A limit's run ends where the kernel's begins, so launches
// are queued before the device comes to them, and the L2 cache holds nothing of the kernel's.
// One thread.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bench/kernels/cuda/gemm.h"
#include "kernels/cuda/resources.h"

namespace pagoda::bench {

struct MeterOptions {
  bool quick = false;    // shapes so small that the fake device runs them
  int repetitions = 21;  // of which medians are taken, after kWarmUps more
};

// What a kernel can be no faster than. kCopy counts bytes read and written, kGemm FLOPs.
enum class Limit { kCopy, kGemm };

using MakeGemmFn = absl::StatusOr<std::unique_ptr<Gemm>> (*)(cudaStream_t stream);

// What was measured of one case.
struct Figure {
  std::string op;
  std::string shape;
  Limit limit = Limit::kCopy;
  int repetitions = 0;
  double seconds = 0;  // median, of one launch of the operation
  double fastest = 0;
  double slowest = 0;
  double rate = 0;           // bytes or FLOPs per second, at the median
  double limit_rate = 0;     // measured in turn with it; 0: there is no such limit
  double against_first = 0;  // seconds as a multiple of those of the cases' first; 0: is the first
};

struct Report {
  std::string device;
  int32_t multiprocessors = 0;
  double copy_rate = 0;  // medians over the whole run
  double gemm_rate = 0;  // 0: there is none
  std::vector<Figure> figures;
};

// One of several ways to do the same work.
struct Case {
  std::string shape;
  std::function<absl::Status()> run;  // queues it on the meter's stream
};

// Work of each case: `amount` bytes or FLOPs in `launches` launches of the operation.
struct Work {
  std::string op;
  Limit limit = Limit::kCopy;
  double amount = 0;
  int launches = 1;
};

class Meter {
 public:
  // FAILED_PRECONDITION without a device or with too old a driver.
  static absl::StatusOr<std::unique_ptr<Meter>> Make(const MeterOptions& options,
                                                     MakeGemmFn make_gemm);
  explicit Meter(const MeterOptions& options) : options_(options) {}

  // The cases take turns, each after the limit.
  absl::Status Measure(const Work& work, const std::vector<Case>& cases);
  Report TakeReport();

  bool quick() const { return options_.quick; }
  cudaStream_t stream() const { return stream_.get(); }
  int32_t multiprocessors() const { return report_.multiprocessors; }

  // Device memory of `count` random values, normally distributed. They repeat after 2^20.
  absl::StatusOr<cuda::DeviceBuffer> RandomBf16(size_t count);
  absl::StatusOr<cuda::DeviceBuffer> RandomF32(size_t count);
  // A copy of `values`.
  template <class T>
  absl::StatusOr<cuda::DeviceBuffer> Upload(const std::vector<T>& values) {
    return UploadBytes(values.data(), values.size() * sizeof(T));
  }

 private:
  struct Times {
    double limit = 0;
    double run = 0;
  };

  absl::Status Open(MakeGemmFn make_gemm);
  absl::StatusOr<cuda::DeviceBuffer> UploadBytes(const void* data, size_t bytes);
  // `bytes` of device memory that begin with `data` and go on with it.
  absl::StatusOr<cuda::DeviceBuffer> Repeat(const void* data, size_t size, size_t bytes);
  absl::Status RunLimit(Limit limit);
  double LimitWork(Limit limit) const;
  absl::StatusOr<Times> Turn(Limit limit, const std::function<absl::Status()>& run);

  const MeterOptions options_;
  cuda::Stream stream_;
  std::array<cuda::Event, 3> events_;
  size_t copy_bytes_ = 0;  // of one way
  int32_t gemm_size_ = 0;
  cuda::DeviceBuffer a_, b_, c_;  // of the limits
  std::unique_ptr<Gemm> gemm_;    // null: kGemm runs the copy, and is no limit
  std::vector<double> copy_times_, gemm_times_;
  Report report_;
};

}  // namespace pagoda::bench
