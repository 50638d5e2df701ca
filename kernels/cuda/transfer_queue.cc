#include "kernels/cuda/transfer_queue.h"

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "kernels/cuda/status.h"

namespace pagoda::cuda {

absl::StatusOr<std::unique_ptr<TransferQueue>> TransferQueue::Make() {
  auto queue = std::make_unique<TransferQueue>();
  ASSIGN_OR_RETURN(queue->stream_, MakeStream());
  ASSIGN_OR_RETURN(queue->steps_so_far_, MakeEvent());
  for (Event& end : queue->ends_) {
    ASSIGN_OR_RETURN(end, MakeEvent());
  }
  return queue;
}

void TransferQueue::Gather(const BlockMemory& from,
                           const BlockMemory& to,
                           absl::Span<const BlockCopy> copies) {
  sources_.clear();
  destinations_.clear();
  sizes_.clear();
  for (size_t i = 0; i < copies.size(); ++i) {
    const BlockCopy& copy = copies[i];
    if (i > 0 && copy.source == copies[i - 1].source + 1 &&
        copy.destination == copies[i - 1].destination + 1) {
      sizes_.back() += from.block_bytes;
      continue;
    }
    sources_.push_back(from.base + copy.source * from.block_bytes);
    destinations_.push_back(to.base + copy.destination * to.block_bytes);
    sizes_.push_back(from.block_bytes);
  }
}

absl::Status TransferQueue::Start(const BlockMemory& from,
                                  const BlockMemory& to,
                                  absl::Span<const BlockCopy> copies,
                                  const Stream& steps) {
  RETURN_IF_ERROR(Finished().status());
  if (started_ - finished_ == kMaxPending) {
    return absl::ResourceExhaustedError(
        absl::StrCat(kMaxPending, " transfers of blocks are under way, the most that can be"));
  }
  Gather(from, to, copies);
  RETURN_IF_ERROR(ToStatus(cudaEventRecord(steps_so_far_.get(), steps.get()), "moving blocks"));
  RETURN_IF_ERROR(
      ToStatus(cudaStreamWaitEvent(stream_.get(), steps_so_far_.get()), "moving blocks"));
  if (!sizes_.empty()) {
    // Steps may have written the sources just before: they are read when the stream comes to it.
    cudaMemcpyAttributes in_order = {};
    in_order.srcAccessOrder = cudaMemcpySrcAccessOrderStream;
    in_order.flags = cudaMemcpyFlagPreferOverlapWithCompute;
    size_t from_first = 0;
    RETURN_IF_ERROR(ToStatus(cudaMemcpyBatchAsync(destinations_.data(),
                                                  sources_.data(),
                                                  sizes_.data(),
                                                  sizes_.size(),
                                                  &in_order,
                                                  &from_first,
                                                  1,
                                                  stream_.get()),
                             "moving blocks"));
  }
  RETURN_IF_ERROR(ToStatus(cudaEventRecord(ends_[started_ % kMaxPending].get(), stream_.get()),
                           "moving blocks"));
  ++started_;
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> TransferQueue::Finished() {
  while (finished_ < started_) {
    const cudaError_t error = cudaEventQuery(ends_[finished_ % kMaxPending].get());
    if (error == cudaErrorNotReady) break;
    RETURN_IF_ERROR(ToStatus(error, "moving blocks"));
    ++finished_;
  }
  return finished_;
}

}  // namespace pagoda::cuda
