// The flags of a server, in one table: `pagoda serve` shows and checks all of them, and hands each
// of its processes the ones that it takes. vLLM's names where the meaning is the same.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/flags.h"

namespace pagoda {

struct ServerFlags {
  // Entrance.
  std::string host = "127.0.0.1";
  int64_t grpc_port = 50051;
  // Model.
  std::string dtype = "auto";
  std::string load_format = "auto";
  // KV cache.
  int64_t block_size = 16;
  int64_t max_model_len = 0;            // 0: the model's
  int64_t num_gpu_blocks_override = 0;  // 0: by memory
  uint64_t kv_cache_memory_bytes = 0;   // 0: by memory
  // Parallelism.
  int64_t tensor_parallel_size = 1;  // ranks of the group
  std::string comm_backend = "auto";
  std::string comm_interface = "lo";
  // Scheduling.
  int64_t max_num_seqs = 256;
  int64_t max_num_batched_tokens = 2048;
  int64_t max_num_queued_reqs = 4096;
  bool async_scheduling = true;
  absl::Duration step_timeout = absl::Seconds(10);
  // Device.
  std::string cpu_isa = "auto";
  int64_t threads = 0;  // 0: every CPU that the process may use
  double gpu_memory_utilization = 0.9;
  bool deterministic = true;
  // Operation.
  absl::Duration drain_timeout = absl::Minutes(5);
  std::string log_format = "text";
};

// Rows for what the coordinator, or the worker, takes; `serve` adds both. Logging belongs to every
// process.
void AddCoordinatorFlags(ServerFlags* flags, FlagSet* set);
void AddWorkerFlags(ServerFlags* flags, FlagSet* set);
void AddLogFlags(ServerFlags* flags, FlagSet* set);

// The command line that gives a process these values.
std::vector<std::string> CoordinatorArguments(const ServerFlags& flags);
std::vector<std::string> WorkerArguments(const ServerFlags& flags);

// Makes `log_format` what common/log.h writes, under this process name.
void ApplyLogFlags(const ServerFlags& flags, absl::string_view process);

}  // namespace pagoda
