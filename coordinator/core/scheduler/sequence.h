// A sequence's place in its group: what is known, what is planned, what is done.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "coordinator/core/kv/block_table.h"
#include "coordinator/core/request/request.h"

namespace pagoda::core {

// Invariant: done <= planned <= known + promised. What every step touches stands together: with a
// thousand sequences, cache lines are what a step costs.
struct Sequence {
  enum class State {
    kAccepting,  // its accept record is not durable yet
    kWaiting,    // in the scheduler's queue
    kRunning,    // on a lane
    kEnding,     // over; its end record is not durable yet
  };

  Sequence(RequestSpec spec, uint64_t arrival)
      : known(static_cast<uint32_t>(spec.prompt.size()) + spec.log->size()),
        max_kv_tokens(static_cast<uint32_t>(spec.prompt.size()) + spec.max_tokens - 1),
        arrival(arrival),
        spec(std::move(spec)) {}

  State state = State::kAccepting;
  int32_t lane = -1;     // of the current binding, or of the last one
  uint32_t binding = 0;  // counts how often it was bound
  // Tokens at the coordinator: prompt and generated.
  uint32_t known;
  // The longest KV this sequence can need: the last drawn token is never processed.
  const uint32_t max_kv_tokens;
  // Tokens whose KV the sent plans of this binding write, and those of answered plans among them.
  uint32_t planned = 0;
  uint32_t done = 0;
  // Tokens that unanswered plans will draw, and rows of unanswered plans.
  uint32_t promised = 0;
  uint32_t unanswered = 0;
  BlockTable table;
  const uint64_t arrival;  // order of acceptance
  const RequestSpec spec;

  GroupId group;  // that serves it, from kWaiting on
  // Why it is over; set with kEnding.
  absl::Status status;
  FinishReason finish = FinishReason::kNone;
  uint32_t completion_tokens = 0;

  uint32_t prompt_tokens() const { return static_cast<uint32_t>(spec.prompt.size()); }
  uint32_t generated() const { return known - prompt_tokens(); }
  // It has generated as many tokens as it may.
  bool complete() const { return known > max_kv_tokens; }
  // Tokens that the next plan may process: all of the history, drawn or about to be drawn, that is
  // not planned.
  uint32_t runnable() const {
    const uint32_t end = std::min(known + promised, max_kv_tokens);
    return end > planned ? end - planned : 0;
  }
  // A token was drawn: adds it to the history and shows it to the log's readers.
  void Take(int32_t token, TokenLogprobs* logprobs) {
    spec.log->Append(token, logprobs);
    spec.log->Publish(spec.log->size());
    ++known;
  }
};

}  // namespace pagoda::core
