// The lanes of an epoch: the worker's mirror of the coordinator's running sequences. It changes
// only by the ops of plans (worker.proto, whose comments say what each op does) and by the rows
// that ran.
//
// Ops come from another process: whatever is wrong with one is a Status that names the lane, what
// was got and the limit. After an error the mirror is somewhere inside that plan; the epoch is
// over.
//
// Invariants of a bound lane: 0 <= length <= history.size() <= max_model_len; every block of the
// table is in [1, num_blocks]; the table has at most the blocks of max_model_len tokens.
// One thread. Memory of a lane is reserved when it is bound first; steady decode allocates nothing.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/step.h"

namespace pagoda {

struct LaneLimits {
  int32_t max_lanes = 0;      // lanes are [0, max_lanes)
  int32_t max_model_len = 0;  // tokens of a lane's history
  int32_t block_size = 0;     // tokens
  int32_t num_blocks = 0;     // usable: ids are [1, num_blocks]
  int32_t vocab_size = 0;     // token ids are [0, vocab_size)
};

// How a lane draws its tokens.
struct LaneSampling {
  SamplingParams params;
  int32_t sequence_index = 0;
};

struct Lane {
  static constexpr int32_t kNobody = -1;
  static constexpr int32_t kUnknown = -1;

  bool bound = false;
  uint32_t binding = 0;          // counts what occupied the lane
  int32_t length = 0;            // tokens whose KV is in the blocks
  std::vector<int32_t> history;  // token ids: prompt, then drawn; kUnknown: on its way
  std::vector<int32_t> blocks;   // the table
  // Leading entries of the table that the device has.
  int32_t blocks_sent = 0;
  LaneSampling sampling;
  // Until the end of the plan that forked it: the lane whose row and logits it shares.
  int32_t follows = kNobody;
};

// Where a token is missing that is being drawn.
struct PendingToken {
  int32_t lane = 0;
  uint32_t binding = 0;
  int32_t index = 0;  // of the history
};

class Lanes {
 public:
  // REQUIRES: limits are positive.
  explicit Lanes(const LaneLimits& limits);

  const LaneLimits& limits() const { return limits_; }

  // Ascending.
  absl::Span<const int32_t> bound() const { return bound_; }
  // REQUIRES: 0 <= index < max_lanes.
  const Lane& lane(int32_t index) const { return lanes_[index]; }

  // ---- Ops, with the arguments of worker.proto
  // ----------------------------------------------------
  absl::Status Bind(uint32_t lane,
                    absl::Span<const uint32_t> tokens,
                    uint32_t prompt_tokens,
                    uint32_t length,
                    const LaneSampling& sampling);
  // The new lane follows `source`, or whom that one follows, until the plan is over or the source
  // is unbound.
  absl::Status Fork(uint32_t source, uint32_t lane, const LaneSampling& sampling);
  // `count` as it stands: the wire's 0 has become 1.
  absl::Status Append(uint32_t lane, uint32_t first, uint32_t count);
  absl::Status Set(uint32_t lane, uint32_t index, uint32_t block);
  absl::Status Truncate(uint32_t lane, uint32_t tokens);
  absl::Status Unbind(uint32_t lane);

  // A block id that ops may name.
  absl::Status CheckBlock(uint32_t block) const;
  absl::Status CheckBound(uint32_t lane) const;

  // ---- Rows
  // --------------------------------------------------------------------------------------- The KV
  // of `tokens` more tokens is in the blocks. REQUIRES: bound, tokens that exist.
  void Advance(int32_t lane, int32_t tokens);
  // The device has the whole table. REQUIRES: bound.
  void SentTable(int32_t lane) { lanes_[lane].blocks_sent = BlockCount(lane); }
  // A token that is being drawn joins the history. REQUIRES: bound, room for it.
  PendingToken Draw(int32_t lane);
  // It has come; nothing happens where the lane has lost its place for it.
  void Learn(const PendingToken& pending, int32_t token);
  // The plan is over: nobody follows anybody.
  void EndPlan();

  // StepResult.table_digest.
  uint64_t Digest();

 private:
  absl::Status CheckFree(uint32_t lane) const;
  Lane& Occupy(uint32_t lane);
  int32_t BlockCount(int32_t lane) const {
    return static_cast<int32_t>(lanes_[lane].blocks.size());
  }

  const LaneLimits limits_;
  const int32_t max_blocks_;  // of a table
  std::vector<Lane> lanes_;
  std::vector<int32_t> bound_;   // ascending
  std::vector<int32_t> forked_;  // in the plan at hand
  std::vector<char> digest_buffer_;
};

}  // namespace pagoda
