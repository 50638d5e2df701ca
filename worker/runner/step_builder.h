// From the lanes and a plan's row exceptions to what the backend runs: rows by ascending lane, one
// for every bound lane unless the plan says otherwise.
//
// A lane forked in this plan has no row of its own: it shares the row and the logits of the lane
// that it follows and draws its own token from them.
//
// Buffers are made once for an epoch's limits; Build allocates nothing. One thread.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/step.h"
#include "proto/pagoda/v1/worker.pb.h"
#include "worker/runner/lanes.h"

namespace pagoda {

class StepBuilder {
 public:
  // `window` of every row, as in SequenceInput. `lanes` outlives this.
  StepBuilder(const Lanes& lanes, int32_t max_step_tokens, int32_t window);

  // INVALID_ARGUMENT or UNIMPLEMENTED naming the lane. What the accessors below show is then void.
  absl::Status Build(const google::protobuf::RepeatedPtrField<v1::RowException>& exceptions);

  // Valid until the next Build or the next change of the lanes. Without sequences there is nothing
  // to run.
  StepInput input() const { return {.sequences = sequences_, .logits_rows = logits_rows_}; }
  // One per lane that draws, by ascending lane.
  absl::Span<const SampleRow> sample_rows() const { return sample_rows_; }
  // Tokens that the step processes of a lane; 0: it sits out. REQUIRES: bound.
  int32_t tokens(int32_t lane) const { return rows_[lane].tokens; }

 private:
  struct Row {
    int32_t tokens = 0;
    int32_t logits_row = -1;  // of StepInput; -1: draws nothing
  };

  absl::Status ReadExceptions(const google::protobuf::RepeatedPtrField<v1::RowException>& from);
  absl::Status AddRow(int32_t lane);
  absl::Status CheckRow(int32_t index, int32_t tokens) const;
  absl::Status ClaimBlocks(int32_t index, int32_t tokens);
  absl::Status Follow(int32_t index);
  void AddSampleRow(int32_t index);

  const Lanes& lanes_;
  const int32_t max_step_tokens_;
  const int32_t window_;
  uint64_t builds_ = 0;
  std::vector<uint64_t> written_;  // by block: the build in which a row writes it
  int32_t step_tokens_ = 0;
  std::vector<Row> rows_;  // by lane
  std::vector<SequenceInput> sequences_;
  std::vector<LogitsRow> logits_rows_;
  std::vector<SampleRow> sample_rows_;
};

}  // namespace pagoda
