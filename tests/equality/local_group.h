// The production core and the production runners, one a rank, joined by plan bytes: what a server
// does, without processes, so that hundreds of configurations can be compared in seconds.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/core/core.h"
#include "worker/runner/runner.h"

namespace pagoda::testing {

// How a group runs; none of it may change a byte of what it gives.
struct GroupSettings {
  std::string name;
  std::string load_format = "dummy";
  BackendFactory device;  // null: a CPU, with the ISA and the threads below
  std::string cpu_isa = "auto";
  int ranks = 1;
  std::string comm_backend = "auto";
  int threads = 1;
  uint32_t depth = 2;
  uint32_t block_size = 16;
  uint32_t num_blocks = 2048;
  uint32_t max_lanes = 32;
  uint32_t max_step_tokens = 512;
  bool one_at_a_time = false;  // the next request comes when the last one is over
  uint64_t kill_every = 0;     // the worker dies after so many steps of an epoch; 0: never
};

struct Prompt {
  std::vector<int32_t> tokens;
  uint32_t max_tokens = 0;
  core::SamplingParams sampling;
};

// What a request gave, logprobs as bits.
struct Output {
  std::vector<int32_t> tokens;
  std::vector<uint32_t> logprob_bits;
  std::vector<int32_t> top_tokens;

  friend bool operator==(const Output&, const Output&) = default;
};

struct GroupRun {
  std::vector<Output> outputs;  // by prompt
  core::CoreStats stats;
};

// Runs every prompt to its end. CHECK-fails on any error.
GroupRun RunGroup(const std::string& model,
                  const std::string& dtype,
                  const GroupSettings& settings,
                  const std::vector<Prompt>& prompts);

}  // namespace pagoda::testing
