// One rank of a group: a loaded model on its device, and the epoch that it serves. The runner does
// what plans say; it decides nothing.
//
//   Load ─> idle ─Configure─> opening ─Connect─> epoch ─Step─> epoch ... ─error, EndEpoch,
//   Configure─> idle or the next opening
//
// The weights outlive epochs; the KV pool, the lanes and the communicator belong to one. One thread
// at a time, but for Abort.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/mutex.h"
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
  BackendFactory device;
  ShardSpec shard;
  std::string comm_backend = "auto";
  std::string comm_interface = "lo";
  // Called once for each plan that was submitted, when its Collect would not wait; on any thread,
  // which it must not hold up.
  std::function<void()> step_done = [] {};
};

class Runner {
 public:
  // Errors as of LoadModel in worker/model/loader.h, and for a device that cannot be had.
  static absl::StatusOr<std::unique_ptr<Runner>> Load(const RunnerOptions& options,
                                                      LoadProgress progress);
  ~Runner();

  const LoadedModel& model() const { return decoder_.model(); }
  const Backend& device() const { return *backend_; }
  uint64_t kv_bytes_per_token() const;
  // Bytes that the KV pool of the coming epoch may take. INVALID_ARGUMENT as Configure.
  absl::StatusOr<uint64_t> PoolMemory(const v1::ProfileRequest& coming) const;

  // Opens `config.epoch`; what an earlier epoch held is gone before the new pool is made. Answers
  // where the other ranks meet this one. INVALID_ARGUMENT for what the model or device cannot do,
  // RESOURCE_EXHAUSTED without memory; then no epoch is open. The order of epochs is the caller's.
  absl::StatusOr<std::string> Configure(const v1::ConfigureRequest& config);

  // Meets the other ranks, by their answers to Configure; once, before the first Step. Errors as of
  // Rendezvous::Connect; they end the epoch. REQUIRES: an epoch is open.
  absl::Status Connect(absl::Span<const std::string> endpoints);

  // Drops the pool, the lanes and the communicator. Without an epoch nothing happens.
  void EndEpoch();

  // Any thread. A Step that waits for other ranks ends with CANCELLED, and so does every later one
  // of the epoch.
  void Abort() ABSL_LOCKS_EXCLUDED(comm_mutex_);

  // 0: none is open.
  uint64_t epoch() const;

  // Queues what `plan` says. An error ends the epoch: the plan was not for this state
  // (FAILED_PRECONDITION), is no valid plan (INVALID_ARGUMENT), asks for what is not built
  // (UNIMPLEMENTED), a rank was lost, or the device failed. REQUIRES: pending() < kMaxPending.
  absl::Status Submit(const v1::Plan& plan);
  // Waits for the oldest plan that was submitted and fills its `result`, all but plan_hash; only
  // rank 0 answers tokens. Errors as of Submit. REQUIRES: pending() > 0.
  absl::Status Collect(v1::StepResult* result);
  // Plans submitted and not collected; 0 without an epoch.
  int pending() const;
  static constexpr int kMaxPending = 2;

  // Submit and Collect. REQUIRES: pending() == 0.
  absl::Status Step(const v1::Plan& plan, v1::StepResult* result);

  // What a test looks at between steps. REQUIRES: an epoch is open.
  const Lanes& lanes() const;
  KvPool& pool();

 private:
  struct Pending;
  struct Epoch;

  Runner(std::unique_ptr<Backend> backend,
         LoadedModel model,
         const CommOptions& comm,
         std::function<void()> step_done);

  StepLimits LimitsOf(const v1::ConfigureRequest& config) const;
  absl::Status DoPlan(const v1::Plan& plan);
  absl::Status CheckHead(const v1::Plan& plan) const;
  // Queues the step that the builder has built.
  absl::Status RunRows(Pending* pending);
  absl::Status QueueRows(PreparedStep& step);
  void AdvanceLanes(Pending* pending);
  // Waits for the tokens of a plan and makes its answer; done once.
  absl::Status Settle(Pending* pending);
  void Answer(const StepOutput& output, Pending* pending) const;
  // Ends the epoch for `error`, which came of `step`.
  absl::Status Fail(uint64_t step, const absl::Status& error);
  bool is_first() const { return comm_options_.rank == 0; }
  void SetCommunicator(std::unique_ptr<Communicator> comm) ABSL_LOCKS_EXCLUDED(comm_mutex_);

  const std::unique_ptr<Backend> backend_;  // outlives the weights and the pool
  Decoder decoder_;
  const CommOptions comm_options_;  // all but the epoch
  const std::function<void()> step_done_;
  std::unique_ptr<Epoch> epoch_;
  std::chrono::steady_clock::time_point last_collected_;

  Mutex comm_mutex_;  // for Abort: the owner alone replaces the communicator
  std::unique_ptr<Communicator> comm_;
};

}  // namespace pagoda
