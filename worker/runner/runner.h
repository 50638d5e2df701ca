// One rank of a group: a loaded model on its device, and the epoch that it serves. The runner does
// what plans say; it decides nothing.
//
//   Load ─> idle ─Configure─> opening ─Connect─> epoch ─Step─> epoch ... ─error, EndEpoch,
//   Configure─> idle or the next opening
//
// The weights outlive epochs; the KV pool, the lanes and the communicator belong to one. One thread
// at a time, but for Abort.
#pragma once

#include <cstdint>
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
  std::string cpu_isa = "auto";
  int threads = 0;                  // 0: every CPU that the process may use
  uint64_t memory_limit_bytes = 0;  // weights beyond it are refused; 0: no limit
  ShardSpec shard;
  std::string comm_backend = "auto";
  std::string comm_interface = "lo";
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

  // Does what `plan` says and fills `result`, all but plan_hash; only rank 0 answers tokens. An
  // error ends the epoch: the plan was not for this state (FAILED_PRECONDITION), is no valid plan
  // (INVALID_ARGUMENT), asks for what is not built (UNIMPLEMENTED), a rank was lost, or the device
  // failed.
  absl::Status Step(const v1::Plan& plan, v1::StepResult* result);

  // What a test looks at between steps. REQUIRES: an epoch is open.
  const Lanes& lanes() const;
  KvPool& pool();

 private:
  struct Epoch;

  Runner(std::unique_ptr<Backend> backend,
         std::string device,
         LoadedModel model,
         const CommOptions& comm);

  absl::Status DoPlan(const v1::Plan& plan, v1::StepResult* result);
  absl::Status CheckHead(const v1::Plan& plan) const;
  // Computes the step and fills drawn_. `output` says something on rank 0 only.
  absl::Status RunRows(const StepOutput** output);
  // Rank 0's tokens, on all ranks.
  absl::Status ShareTokens(const StepOutput& output);
  void AdvanceLanes();
  void Answer(const StepOutput& output, v1::StepResult* result) const;
  bool is_first() const { return comm_options_.rank == 0; }
  void SetCommunicator(std::unique_ptr<Communicator> comm) ABSL_LOCKS_EXCLUDED(comm_mutex_);

  const std::unique_ptr<Backend> backend_;  // outlives the weights and the pool
  const std::string device_;
  Decoder decoder_;
  const CommOptions comm_options_;  // all but the epoch
  std::unique_ptr<Epoch> epoch_;
  std::vector<int32_t> drawn_;  // by sample row of the step at hand; 0 where none could be drawn

  Mutex comm_mutex_;  // for Abort: the owner alone replaces the communicator
  std::unique_ptr<Communicator> comm_;
};

}  // namespace pagoda
