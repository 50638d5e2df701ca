// What the worker's runner tells a backend about one step, and what comes back. Plain values; spans
// are read during the call that takes them and not kept, unless a field says otherwise.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace pagoda {

// One sequence's part of a step: `num_tokens` consecutive tokens, the first at position `start`.
// The step's rows are these tokens, sequence after sequence, in order.
struct SequenceInput {
  int32_t lane = 0;
  int32_t start = 0;  // absolute position of the first token == tokens whose KV is in the blocks
  int32_t num_tokens = 0;  // >= 1
  absl::Span<const int32_t>
      tokens;  // size num_tokens; empty: the lane's last token, num_tokens == 1
  // Blocks by position / block_size, at least up to the last token. Entries wholly before the
  // window are not read.
  absl::Span<const int32_t> block_table = {};
  // Leading entries of the table that are as in the step before of a sequence on this lane.
  int32_t table_kept = 0;
  int32_t window = 0;  // a token sees itself and the window - 1 before it; 0: all before it
};

// A row whose logits are wanted: token `token_offset` of `sequences[sequence]`.
struct LogitsRow {
  int32_t sequence = 0;
  int32_t token_offset = 0;
};

struct StepInput {
  absl::Span<const SequenceInput> sequences = {};
  absl::Span<const LogitsRow> logits_rows = {};
};

struct SamplingParams {
  float temperature = 0;  // 0: argmax, ties to the lowest id
  float top_p = 1;        // (0, 1]
  float min_p = 0;        // [0, 1]
  int32_t top_k = 0;      // <= 0: all
  uint64_t seed = 0;
  int32_t logprobs = -1;  // -1: none; k >= 0: of the drawn token and of the k most likely
  float repetition_penalty = 1;
  float presence_penalty = 0;
  float frequency_penalty = 0;
};

struct LogitBias {
  int32_t token = 0;
  float bias = 0;
};

// One token to draw. Several rows may draw from the same logits row.
struct SampleRow {
  int32_t logits_row = 0;  // index into StepInput::logits_rows
  int32_t lane = 0;        // its last token becomes the drawn one
  SamplingParams params;
  int64_t position = 0;  // absolute position of the drawn token (a counter of the random numbers)
  int32_t sequence_index = 0;  // of this output within its request (likewise)
  // For penalties; both may be empty when params has none.
  absl::Span<const int32_t> prompt = {};
  absl::Span<const int32_t> output = {};
  absl::Span<const LogitBias> bias = {};
  absl::Span<const int32_t> banned = {};  // ids that may not be drawn (stop ids under min_tokens)
};

struct TokenLogprob {
  int32_t token = 0;
  float logprob = 0;
};

struct SampledToken {
  // -1 when the logits were unusable (NaN, +infinity, or nothing above -infinity); the lane then
  // goes on with token 0, until it is unbound.
  int32_t token = 0;
  // Of the log-softmax of the raw logits; 0 when not asked for.
  float logprob = 0;
  // The most likely tokens, best first: StepOutput::top[top_begin, top_begin + top_count).
  int32_t top_begin = 0;
  int32_t top_count = 0;
};

struct StepOutput {
  std::vector<SampledToken> tokens;  // by sample row
  std::vector<TokenLogprob> top;
};

// Copies of whole blocks inside one pool, done in order.
struct BlockCopy {
  int32_t source = 0;
  int32_t destination = 0;
};

}  // namespace pagoda
