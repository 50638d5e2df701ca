#include "kernels/cuda/sampling.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/kernels/cuda/cases.h"
#include "common/status.h"
#include "kernels/cuda/status.h"

namespace pagoda::bench {
namespace {

using cuda::DeviceBuffer;

// One token from each row of random logits, which are counted as read once.
class Sampling {
 public:
  absl::Status Make(Meter& meter, const DeviceBuffer& logits, int32_t rows, SamplingParams params) {
    std::vector<cuda::SampleTask> tasks(rows);
    for (int32_t i = 0; i < rows; ++i) {
      params.seed = i;
      tasks[i].logits_row = tasks[i].lane = i;
      tasks[i].params = params;
    }
    ASSIGN_OR_RETURN(tasks_, meter.Upload(tasks));
    ASSIGN_OR_RETURN(tokens_, DeviceBuffer::Make(rows * sizeof(SampledToken)));
    ASSIGN_OR_RETURN(edited_, DeviceBuffer::Make(logits.bytes()));
    ASSIGN_OR_RETURN(lanes_, DeviceBuffer::Make(rows * sizeof(int32_t)));
    const auto vocab = static_cast<int32_t>(logits.bytes() / sizeof(float) / rows);
    args_ = {.logits = logits.data<float>(),
             .logits_stride = vocab,
             .vocab = vocab,
             .tasks = tasks_.data<cuda::SampleTask>(),
             .num_tasks = rows,
             .edited = edited_.data<float>(),
             .tokens = tokens_.data<SampledToken>(),
             .lane_tokens = lanes_.data<int32_t>()};
    return absl::OkStatus();
  }

  absl::Status Run(cudaStream_t stream) const {
    return cuda::ToStatus(RunSampling(args_, stream), "sampling");
  }

 private:
  cuda::SampleArgs args_;
  DeviceBuffer tasks_, edited_, tokens_, lanes_;
};

}  // namespace

absl::Status MeasureSampling(Meter& meter) {
  const int32_t rows = meter.quick() ? 2 : 256, vocab = meter.quick() ? 600 : 128256;
  ASSIGN_OR_RETURN(const DeviceBuffer logits, meter.RandomF32(size_t{1} * rows * vocab));
  struct Way {
    const char* name;
    SamplingParams params;
  };
  const Way ways[] = {
      {"greedy", {}},
      {"temperature", {.temperature = 0.8f}},
      {"temperature, top-k 50, top-p 0.9", {.temperature = 0.8f, .top_p = 0.9f, .top_k = 50}},
      {"temperature, top-p 0.9", {.temperature = 0.8f, .top_p = 0.9f}},
  };
  std::vector<Sampling> samplings(std::size(ways));
  std::vector<Case> cases;
  for (size_t i = 0; i < samplings.size(); ++i) {
    RETURN_IF_ERROR(samplings[i].Make(meter, logits, rows, ways[i].params));
    cases.push_back({absl::StrCat(rows, " rows of ", vocab, ", ", ways[i].name),
                     [&meter, sampling = &samplings[i]] { return sampling->Run(meter.stream()); }});
  }
  const Work work = {"sampling", Limit::kCopy, static_cast<double>(logits.bytes())};
  return meter.Measure(work, cases);
}

}  // namespace pagoda::bench
