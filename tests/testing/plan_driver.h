// A scheduler of a few lines that makes plans for a worker under test: sequences take lanes as they
// become free, prompts are processed in chunks, blocks come from a shuffled list as they are
// needed.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "proto/pagoda/v1/worker.pb.h"

namespace pagoda::testing {

class PlanDriver {
 public:
  struct Sequence {
    std::vector<uint32_t> prompt;
    v1::SamplingParams sampling;
    uint32_t max_tokens = 0;
    std::vector<uint32_t> drawn;
    std::vector<v1::TokenLogprobs> logprobs;  // when the answers have them

    int lane = -1;  // -1: waits, or is over
    uint32_t processed = 0;
    std::vector<uint32_t> blocks;
    bool over() const { return drawn.size() == max_tokens; }
  };

  // Plans for the epoch of `config`, at most `chunk` tokens of a sequence in a step.
  PlanDriver(const v1::ConfigureRequest& config, uint32_t chunk);

  // Returns its index.
  size_t Add(std::vector<uint32_t> prompt, const v1::SamplingParams& sampling, uint32_t max_tokens);

  const Sequence& sequence(size_t index) const { return sequences_[index]; }
  bool done() const;

  v1::Plan Next();
  void Take(const v1::StepResult& result);

  // Next, `step`, Take, until done.
  absl::Status Run(
      const std::function<absl::Status(const v1::Plan& plan, v1::StepResult* result)>& step);

 private:
  void Retire(v1::Plan* plan);
  void Admit(v1::Plan* plan);
  void Advance(Sequence* sequence, uint32_t tokens, v1::Plan* plan);

  const v1::ConfigureRequest config_;
  const uint32_t chunk_;
  uint64_t step_ = 0;
  std::vector<Sequence> sequences_;
  size_t admitted_ = 0;             // sequences before it have had a lane
  std::vector<Sequence*> on_lane_;  // by lane
  std::vector<uint32_t> free_;      // blocks
  uint32_t promised_blocks_ = 0;    // that sequences on lanes may still take
};

// Greedy, no logprobs.
v1::SamplingParams Greedy();

}  // namespace pagoda::testing
