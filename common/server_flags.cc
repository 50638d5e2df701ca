#include "common/server_flags.h"

#include "absl/strings/str_cat.h"
#include "common/log.h"

namespace pagoda {
namespace {

constexpr double kMaxTokens = 1 << 30;

void AddEntrance(ServerFlags* flags, FlagSet* set) {
  set->Add({.name = "host",
            .group = "Entrance",
            .target = &flags->host,
            .help = "Address that clients connect to."});
  set->Add({.name = "grpc-port",
            .group = "Entrance",
            .target = &flags->grpc_port,
            .help = "Port of the gRPC entrance; 0 takes a free one.",
            .min = 0,
            .max = 65535});
}

void AddModel(ServerFlags* flags, FlagSet* set) {
  set->Add({.name = "dtype",
            .group = "Model",
            .target = &flags->dtype,
            .help = "Type of weights, activations and KV cache; auto takes the model's.",
            .choices = {"auto", "bfloat16", "float32"}});
  set->Add({.name = "load-format",
            .group = "Model",
            .target = &flags->load_format,
            .help = "auto reads safetensors; dummy makes random weights from config.json alone.",
            .choices = {"auto", "dummy"}});
}

void AddKvCache(ServerFlags* flags, FlagSet* set) {
  set->Add({.name = "block-size",
            .group = "KV cache",
            .target = &flags->block_size,
            .help = "Tokens of a KV block: 8, 16, 32, 64 or 128.",
            .unit = "tokens",
            .min = 1,
            .max = kMaxTokens});
  set->Add({.name = "max-model-len",
            .group = "KV cache",
            .target = &flags->max_model_len,
            .help = "Longest prompt and output together.",
            .unit = "tokens",
            .default_text = "the model's",
            .min = 0,
            .max = kMaxTokens});
  set->Add({.name = "num-gpu-blocks-override",
            .group = "KV cache",
            .target = &flags->num_gpu_blocks_override,
            .help = "Usable blocks of the KV pool, on a CPU too.",
            .unit = "blocks",
            .default_text = "by memory",
            .min = 0,
            .max = kMaxTokens});
  set->Add({.name = "kv-cache-memory-bytes",
            .group = "KV cache",
            .target = ByteSize{&flags->kv_cache_memory_bytes},
            .help =
                "Memory of each rank's KV pool; by default what gpu-memory-utilization leaves of a "
                "GPU, on a CPU half of what is left, not more than max-num-seqs x max-model-len "
                "tokens.",
            .default_text = "by memory"});
}

void AddParallelism(ServerFlags* flags, FlagSet* set) {
  set->Add({.name = "tensor-parallel-size",
            .group = "Parallelism",
            .target = &flags->tensor_parallel_size,
            .help = "Workers that divide the model: 1, 2, 4 or 8; any number gives the same bits.",
            .unit = "ranks",
            .min = 1,
            .max = 8});
}

void AddComm(ServerFlags* flags, FlagSet* set) {
  set->Add({.name = "comm-backend",
            .group = "Parallelism",
            .target = &flags->comm_backend,
            .help =
                "How ranks meet: local (shared memory of one host), gloo (TCP, plain text), nccl "
                "(GPUs, one for each rank), or auto: nccl on GPUs, else local where all ranks "
                "share a host.",
            .choices = {"auto", "local", "gloo", "nccl"}});
  set->Add({.name = "comm-interface",
            .group = "Parallelism",
            .target = &flags->comm_interface,
            .help = "Network interface, or one of its addresses, on which gloo listens.",
            .placeholder = "NAME"});
}

void AddScheduling(ServerFlags* flags, FlagSet* set) {
  set->Add({.name = "max-num-seqs",
            .group = "Scheduling",
            .target = &flags->max_num_seqs,
            .help = "Sequences that run at once.",
            .min = 1,
            .max = 65536});
  set->Add({.name = "max-num-batched-tokens",
            .group = "Scheduling",
            .target = &flags->max_num_batched_tokens,
            .help = "Tokens of one step; longer prompts are prefilled in chunks.",
            .unit = "tokens",
            .min = 1,
            .max = 1 << 20});
  set->Add({.name = "max-num-queued-reqs",
            .group = "Scheduling",
            .target = &flags->max_num_queued_reqs,
            .help = "Requests that may wait; more are refused.",
            .min = 1,
            .max = 1 << 20});
  set->Add({.name = "async-scheduling",
            .group = "Scheduling",
            .target = &flags->async_scheduling,
            .help = "Plan a step before the answer to the one before it."});
  set->Add({.name = "step-timeout",
            .group = "Scheduling",
            .target = &flags->step_timeout,
            .help = "Floor of a step's deadline; a worker past it is given up.",
            .min = 0.1});
}

}  // namespace

void AddCoordinatorFlags(ServerFlags* flags, FlagSet* set) {
  AddEntrance(flags, set);
  AddModel(flags, set);
  AddKvCache(flags, set);
  AddParallelism(flags, set);
  AddScheduling(flags, set);
  set->Add({.name = "drain-timeout",
            .group = "Operation",
            .target = &flags->drain_timeout,
            .help = "How long SIGTERM waits for unfinished requests."});
}

void AddWorkerFlags(ServerFlags* flags, FlagSet* set) {
  set->Add({.name = "cpu-isa",
            .group = "Device",
            .target = &flags->cpu_isa,
            .help = "Vector instructions; every path gives the same bits.",
            .choices = {"auto", "scalar", "avx2", "avx512"}});
  set->Add({.name = "threads",
            .group = "Device",
            .target = &flags->threads,
            .help = "Threads of a rank's step; any number gives the same bits.",
            .default_text = "the CPUs of the process, divided among its ranks",
            .min = 0,
            .max = 1024});
  set->Add({.name = "gpu-memory-utilization",
            .group = "Device",
            .target = &flags->gpu_memory_utilization,
            .help = "Part of a GPU's memory that weights, KV pool and steps take together.",
            .min = 0.01,
            .max = 1});
  set->Add({.name = "deterministic",
            .group = "Device",
            .target = &flags->deterministic,
            .help = "Results depend on nothing but the request; without it a GPU multiplies by "
                    "cuBLASLt, whose sums depend on the batch. A CPU knows no other way."});
  AddComm(flags, set);
}

void AddLogFlags(ServerFlags* flags, FlagSet* set) {
  set->Add({.name = "log-format",
            .group = "Operation",
            .target = &flags->log_format,
            .help = "Log lines on stderr as text or as JSON.",
            .choices = {"text", "json"}});
}

std::vector<std::string> CoordinatorArguments(const ServerFlags& flags) {
  return {absl::StrCat("--host=", flags.host),
          absl::StrCat("--grpc-port=", flags.grpc_port),
          absl::StrCat("--dtype=", flags.dtype),
          absl::StrCat("--load-format=", flags.load_format),
          absl::StrCat("--block-size=", flags.block_size),
          absl::StrCat("--max-model-len=", flags.max_model_len),
          absl::StrCat("--num-gpu-blocks-override=", flags.num_gpu_blocks_override),
          absl::StrCat("--kv-cache-memory-bytes=", flags.kv_cache_memory_bytes),
          absl::StrCat("--tensor-parallel-size=", flags.tensor_parallel_size),
          absl::StrCat("--max-num-seqs=", flags.max_num_seqs),
          absl::StrCat("--max-num-batched-tokens=", flags.max_num_batched_tokens),
          absl::StrCat("--max-num-queued-reqs=", flags.max_num_queued_reqs),
          absl::StrCat("--async-scheduling=", flags.async_scheduling ? "true" : "false"),
          absl::StrCat("--step-timeout=", absl::FormatDuration(flags.step_timeout)),
          absl::StrCat("--drain-timeout=", absl::FormatDuration(flags.drain_timeout)),
          absl::StrCat("--log-format=", flags.log_format)};
}

std::vector<std::string> WorkerArguments(const ServerFlags& flags) {
  return {absl::StrCat("--cpu-isa=", flags.cpu_isa),
          absl::StrCat("--threads=", flags.threads),
          absl::StrCat("--gpu-memory-utilization=", flags.gpu_memory_utilization),
          absl::StrCat("--deterministic=", flags.deterministic ? "true" : "false"),
          absl::StrCat("--comm-backend=", flags.comm_backend),
          absl::StrCat("--comm-interface=", flags.comm_interface),
          absl::StrCat("--log-format=", flags.log_format)};
}

void ApplyLogFlags(const ServerFlags& flags, absl::string_view process) {
  log::SetFormat(flags.log_format == "json" ? log::Format::kJson : log::Format::kText);
  log::SetProcess(process);
}

}  // namespace pagoda
