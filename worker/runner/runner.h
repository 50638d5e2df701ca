// One rank of a group: a loaded model on its device, and the epoch that it serves. The runner does
// what plans say; it decides nothing.
//
//   Load ─> idle ─Configure─> epoch ─Step─> epoch ... ─error, EndEpoch, Configure─> idle or the
//   next epoch
//
// The weights outlive epochs; the KV pool and the lanes belong to one. One thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "proto/pagoda/v1/worker.pb.h"
#include "worker/model/decoder.h"
#include "worker/model/loader.h"
#include "worker/runner/lanes.h"

namespace pagoda {

// The version of kernels/NUMERICS.md that the kernels follow; part of the fingerprint.
inline constexpr uint32_t kNumericContract = 1;

struct RunnerOptions {
  std::string model;  // directory
  std::string dtype = "auto";
  std::string load_format = "auto";
  std::string cpu_isa = "auto";
  int threads = 0;                  // 0: every CPU that the process may use
  uint64_t memory_limit_bytes = 0;  // weights beyond it are refused; 0: no limit
};

class Runner {
 public:
  // Errors as of LoadModel in worker/model/loader.h, and for a device that cannot be had.
  static absl::StatusOr<std::unique_ptr<Runner>> Load(const RunnerOptions& options,
                                                      LoadProgress progress);
  ~Runner();

  const LoadedModel& model() const { return decoder_.model(); }
  const std::string& device() const { return device_; }  // "cpu avx512, 2 threads"
  uint64_t kv_bytes_per_token() const;

  // Opens `config.epoch`; what an earlier epoch held is gone before the new pool is made.
  // INVALID_ARGUMENT for what the model or device cannot do, RESOURCE_EXHAUSTED without memory;
  // then no epoch is open. The order of epochs is the caller's.
  absl::Status Configure(const v1::ConfigureRequest& config);

  // Drops the pool and the lanes. Without an epoch nothing happens.
  void EndEpoch();

  // 0: none is open.
  uint64_t epoch() const;

  // Does what `plan` says and fills `result`, all but plan_hash. An error ends the epoch: the plan
  // was not for this state (FAILED_PRECONDITION), is no valid plan (INVALID_ARGUMENT), asks for
  // what is not built (UNIMPLEMENTED), or the device failed.
  absl::Status Step(const v1::Plan& plan, v1::StepResult* result);

  // What a test looks at between steps. REQUIRES: an epoch is open.
  const Lanes& lanes() const;
  KvPool& pool();

 private:
  struct Epoch;

  Runner(std::unique_ptr<Backend> backend, std::string device, LoadedModel model);

  absl::Status DoPlan(const v1::Plan& plan, v1::StepResult* result);
  absl::Status CheckHead(const v1::Plan& plan) const;
  absl::StatusOr<const StepOutput*> RunRows();
  void TakeOutput(const StepOutput& output, v1::StepResult* result);

  const std::unique_ptr<Backend> backend_;  // outlives the weights and the pool
  const std::string device_;
  Decoder decoder_;
  std::unique_ptr<Epoch> epoch_;
};

}  // namespace pagoda
