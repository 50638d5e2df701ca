#include "kernels/cuda/staged_communicator.h"

#include <utility>

#include "common/check.h"
#include "common/status.h"
#include "kernels/cuda/resources.h"
#include "kernels/cuda/status.h"

namespace pagoda::cuda {
namespace {

class StagedCommunicator final : public Communicator {
 public:
  StagedCommunicator(std::unique_ptr<Communicator> host,
                     PinnedBuffer mine,
                     PinnedBuffer all,
                     cudaStream_t stream)
      : host_(std::move(host)), mine_(std::move(mine)), all_(std::move(all)), stream_(stream) {}

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  absl::Status status() const override { return host_->status(); }
  void SetDeadline(absl::Time deadline) override { host_->SetDeadline(deadline); }

  absl::Status AllReduce(absl::Span<float> data) override {
    RETURN_IF_ERROR(Fetch(data.data(), data.size() * sizeof(float)));
    RETURN_IF_ERROR(host_->AllReduce({mine_.data<float>(), data.size()}));
    return PutBack(mine_, data.data(), data.size() * sizeof(float));
  }
  absl::Status AllMerge(absl::Span<uint32_t> words) override {
    RETURN_IF_ERROR(Fetch(words.data(), words.size() * sizeof(uint32_t)));
    RETURN_IF_ERROR(host_->AllMerge({mine_.data<uint32_t>(), words.size()}));
    return PutBack(mine_, words.data(), words.size() * sizeof(uint32_t));
  }
  absl::Status AllGather(absl::Span<const std::byte> mine, absl::Span<std::byte> all) override {
    CHECK_LE(all.size(), all_.bytes());
    RETURN_IF_ERROR(Fetch(mine.data(), mine.size()));
    RETURN_IF_ERROR(host_->AllGather({mine_.data<std::byte>(), mine.size()},
                                     {all_.data<std::byte>(), all.size()}));
    return PutBack(all_, all.data(), all.size());
  }
  absl::Status Gather(absl::Span<const std::byte> mine,
                      absl::Span<std::byte> all,
                      int root) override {
    CHECK_LE(all.size(), all_.bytes());
    RETURN_IF_ERROR(Fetch(mine.data(), mine.size()));
    RETURN_IF_ERROR(host_->Gather({mine_.data<std::byte>(), mine.size()},
                                  {all_.data<std::byte>(), all.size()},
                                  root));
    return rank() == root ? PutBack(all_, all.data(), all.size()) : absl::OkStatus();
  }
  absl::Status Broadcast(absl::Span<std::byte> data, int root) override {
    RETURN_IF_ERROR(Fetch(data.data(), data.size()));
    RETURN_IF_ERROR(host_->Broadcast({mine_.data<std::byte>(), data.size()}, root));
    return PutBack(mine_, data.data(), data.size());
  }

  void Abort() override { host_->Abort(); }

 private:
  // Waits for all that is queued: what was put back before has gone, too.
  absl::Status Fetch(const void* data, size_t bytes) {
    CHECK_LE(bytes, mine_.bytes());
    if (bytes > 0) {
      RETURN_IF_ERROR(
          ToStatus(cudaMemcpyAsync(mine_.data(), data, bytes, cudaMemcpyDeviceToHost, stream_),
                   "fetching what is for other ranks"));
    }
    return ToStatus(cudaStreamSynchronize(stream_), "fetching what is for other ranks");
  }
  absl::Status PutBack(const PinnedBuffer& from, void* data, size_t bytes) {
    if (bytes == 0) return absl::OkStatus();
    return ToStatus(cudaMemcpyAsync(data, from.data(), bytes, cudaMemcpyHostToDevice, stream_),
                    "putting back what came from other ranks");
  }

  const std::unique_ptr<Communicator> host_;
  const PinnedBuffer mine_;
  const PinnedBuffer all_;
  const cudaStream_t stream_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>>
MakeStagedCommunicator(std::unique_ptr<Communicator> host, size_t max_bytes, cudaStream_t stream) {
  ASSIGN_OR_RETURN(PinnedBuffer mine, PinnedBuffer::Make(max_bytes));
  ASSIGN_OR_RETURN(PinnedBuffer all, PinnedBuffer::Make(max_bytes));
  return std::make_unique<StagedCommunicator>(std::move(host),
                                              std::move(mine),
                                              std::move(all),
                                              stream);
}

}  // namespace pagoda::cuda
