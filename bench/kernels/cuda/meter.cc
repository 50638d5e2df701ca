#include "bench/kernels/cuda/meter.h"

#include <algorithm>
#include <random>
#include <utility>

#include "common/status.h"
#include "kernels/cuda/status.h"
#include "kernels/dtype.h"

namespace pagoda::bench {
namespace {

using cuda::DeviceBuffer;
using cuda::ToStatus;

constexpr int kWarmUps = 3;
constexpr size_t kRandomValues = size_t{1} << 20;
// Far more than an L2 cache holds.
constexpr size_t kCopyBytes = size_t{512} << 20, kQuickCopyBytes = size_t{64} << 10;
constexpr int32_t kGemmSize = 8192, kQuickGemmSize = 256;

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

std::vector<float> Normal(size_t count) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

absl::StatusOr<cuda::Event> MakeTimedEvent() {
  cudaEvent_t event = nullptr;
  RETURN_IF_ERROR(ToStatus(cudaEventCreateWithFlags(&event, cudaEventDefault), "making an event"));
  return cuda::Event(event);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Meter>> Meter::Make(const MeterOptions& options,
                                                   MakeGemmFn make_gemm) {
  auto meter = std::make_unique<Meter>(options);
  RETURN_IF_ERROR(meter->Open(make_gemm));
  return meter;
}

absl::Status Meter::Open(MakeGemmFn make_gemm) {
  RETURN_IF_ERROR(ToStatus(cudaSetDevice(0), "choosing device 0"));
  cudaDeviceProp properties;
  RETURN_IF_ERROR(ToStatus(cudaGetDeviceProperties(&properties, 0), "asking for the device"));
  report_.device = properties.name;
  RETURN_IF_ERROR(
      ToStatus(cudaDeviceGetAttribute(&report_.multiprocessors, cudaDevAttrMultiProcessorCount, 0),
               "asking for multiprocessors"));
  ASSIGN_OR_RETURN(stream_, cuda::MakeStream());
  for (cuda::Event& event : events_) {
    ASSIGN_OR_RETURN(event, MakeTimedEvent());
  }
  copy_bytes_ = quick() ? kQuickCopyBytes : kCopyBytes;
  gemm_size_ = quick() ? kQuickGemmSize : kGemmSize;
  ASSIGN_OR_RETURN(gemm_, make_gemm(stream()));
  const size_t matrix = size_t{sizeof(uint16_t)} * gemm_size_ * gemm_size_;
  const size_t bytes = std::max(copy_bytes_, matrix);
  ASSIGN_OR_RETURN(a_, RandomBf16(bytes / sizeof(uint16_t)));
  ASSIGN_OR_RETURN(b_, RandomBf16(bytes / sizeof(uint16_t)));
  ASSIGN_OR_RETURN(c_, DeviceBuffer::Make(matrix));
  return absl::OkStatus();
}

double Meter::LimitWork(Limit limit) const {
  if (limit == Limit::kCopy) return 2.0 * static_cast<double>(copy_bytes_);
  return gemm_ == nullptr ? 0 : 2.0 * gemm_size_ * gemm_size_ * gemm_size_;
}

absl::Status Meter::RunLimit(Limit limit) {
  if (limit == Limit::kGemm && gemm_ != nullptr) {
    return gemm_->Run(a_.data(), b_.data(), c_.data(), gemm_size_);
  }
  return ToStatus(
      cudaMemcpyAsync(b_.data(), a_.data(), copy_bytes_, cudaMemcpyDeviceToDevice, stream()),
      "copying");
}

absl::StatusOr<Meter::Times> Meter::Turn(Limit limit, const std::function<absl::Status()>& run) {
  const auto record = [&](int i) {
    return ToStatus(cudaEventRecord(events_[i].get(), stream()), "recording an event");
  };
  RETURN_IF_ERROR(record(0));
  RETURN_IF_ERROR(RunLimit(limit));
  RETURN_IF_ERROR(record(1));
  RETURN_IF_ERROR(run());
  RETURN_IF_ERROR(record(2));
  RETURN_IF_ERROR(ToStatus(cudaEventSynchronize(events_[2].get()), "waiting"));
  float milliseconds[2] = {};
  for (int i = 0; i < 2; ++i) {
    RETURN_IF_ERROR(
        ToStatus(cudaEventElapsedTime(&milliseconds[i], events_[i].get(), events_[i + 1].get()),
                 "asking for the time"));
  }
  return Times{milliseconds[0] / 1e3, milliseconds[1] / 1e3};
}

absl::Status Meter::Measure(const Work& work, const std::vector<Case>& cases) {
  std::vector<std::vector<double>> times(cases.size());
  std::vector<double> limit_times;
  for (int round = -kWarmUps; round < options_.repetitions; ++round) {
    for (size_t i = 0; i < cases.size(); ++i) {
      ASSIGN_OR_RETURN(const Times turn, Turn(work.limit, cases[i].run));
      if (round < 0) continue;
      times[i].push_back(turn.run / work.launches);
      limit_times.push_back(turn.limit);
    }
  }
  const double limit_rate = LimitWork(work.limit) / Median(limit_times);
  std::vector<double>& all = work.limit == Limit::kCopy ? copy_times_ : gemm_times_;
  all.insert(all.end(), limit_times.begin(), limit_times.end());
  for (size_t i = 0; i < cases.size(); ++i) {
    const double seconds = Median(times[i]);
    const auto [fastest, slowest] = std::minmax_element(times[i].begin(), times[i].end());
    report_.figures.push_back({work.op,
                               cases[i].shape,
                               work.limit,
                               options_.repetitions,
                               seconds,
                               *fastest,
                               *slowest,
                               work.amount / work.launches / seconds,
                               limit_rate,
                               i == 0 ? 0 : seconds / Median(times[0])});
  }
  return absl::OkStatus();
}

Report Meter::TakeReport() {
  const auto rate = [&](Limit limit, const std::vector<double>& times) {
    return times.empty() ? 0 : LimitWork(limit) / Median(times);
  };
  report_.copy_rate = rate(Limit::kCopy, copy_times_);
  report_.gemm_rate = rate(Limit::kGemm, gemm_times_);
  return std::move(report_);
}

absl::StatusOr<DeviceBuffer> Meter::RandomBf16(size_t count) {
  std::vector<uint16_t> values;
  for (const float value : Normal(std::min(count, kRandomValues))) {
    values.push_back(F32ToBf16(value));
  }
  return Repeat(values.data(), values.size() * sizeof(uint16_t), count * sizeof(uint16_t));
}

absl::StatusOr<DeviceBuffer> Meter::RandomF32(size_t count) {
  const std::vector<float> values = Normal(std::min(count, kRandomValues));
  return Repeat(values.data(), values.size() * sizeof(float), count * sizeof(float));
}

absl::StatusOr<DeviceBuffer> Meter::UploadBytes(const void* data, size_t bytes) {
  return Repeat(data, bytes, bytes);
}

absl::StatusOr<DeviceBuffer> Meter::Repeat(const void* data, size_t size, size_t bytes) {
  ASSIGN_OR_RETURN(DeviceBuffer buffer, DeviceBuffer::Make(bytes));
  for (size_t at = 0; at < bytes; at += size) {
    RETURN_IF_ERROR(ToStatus(cudaMemcpyAsync(buffer.data<std::byte>() + at,
                                             data,
                                             std::min(size, bytes - at),
                                             cudaMemcpyHostToDevice,
                                             stream()),
                             "an upload"));
  }
  RETURN_IF_ERROR(ToStatus(cudaStreamSynchronize(stream()), "an upload"));
  return buffer;
}

}  // namespace pagoda::bench
