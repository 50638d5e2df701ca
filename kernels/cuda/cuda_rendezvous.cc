#include "kernels/cuda/cuda_rendezvous.h"

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "kernels/cuda/nccl_communicator.h"
#include "kernels/cuda/staged_communicator.h"
#include "kernels/cuda/status.h"

namespace pagoda::cuda {
namespace {

// Rank 0's way is "nccl" and the id in hex, that of the others "nccl -".
constexpr char kWay[] = "nccl ";

class NcclRendezvous final : public Rendezvous {
 public:
  NcclRendezvous(const CommOptions& comm, const NcclOptions& options, const std::string& id)
      : comm_(comm), options_(options), endpoint_(EncodeEndpoint(comm, absl::StrCat(kWay, id))) {}

  const std::string& endpoint() const override { return endpoint_; }

  absl::StatusOr<std::unique_ptr<Communicator>> Connect(
      absl::Span<const std::string> endpoints) override {
    ASSIGN_OR_RETURN(const std::vector<std::string> ways, DecodeEndpoints(endpoints, comm_));
    ncclUniqueId id;
    const std::string bytes = absl::HexStringToBytes(
        ways[0].substr(0, 5) == kWay ? ways[0].substr(sizeof(kWay) - 1) : std::string());
    if (bytes.size() != sizeof(id.internal)) {
      return absl::FailedPreconditionError("rank 0 is not reached by NCCL");
    }
    std::memcpy(id.internal, bytes.data(), bytes.size());
    RETURN_IF_ERROR(ToStatus(cudaSetDevice(options_.device), "choosing the device"));
    return ConnectNccl(id, options_);
  }

 private:
  const CommOptions comm_;
  const NcclOptions options_;
  const std::string endpoint_;
};

class StagedRendezvous final : public Rendezvous {
 public:
  StagedRendezvous(std::unique_ptr<Rendezvous> host,
                   int device,
                   size_t max_bytes,
                   cudaStream_t stream)
      : host_(std::move(host)), device_(device), max_bytes_(max_bytes), stream_(stream) {}

  const std::string& endpoint() const override { return host_->endpoint(); }

  absl::StatusOr<std::unique_ptr<Communicator>> Connect(
      absl::Span<const std::string> endpoints) override {
    ASSIGN_OR_RETURN(std::unique_ptr<Communicator> comm, host_->Connect(endpoints));
    RETURN_IF_ERROR(ToStatus(cudaSetDevice(device_), "choosing the device"));
    return MakeStagedCommunicator(std::move(comm), max_bytes_, stream_);
  }

 private:
  const std::unique_ptr<Rendezvous> host_;
  const int device_;
  const size_t max_bytes_;
  const cudaStream_t stream_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Rendezvous>> OpenCudaRendezvous(const CommOptions& options,
                                                               int device,
                                                               cudaStream_t stream,
                                                               size_t max_bytes) {
  RETURN_IF_ERROR(CheckRank(options));
  const bool nccl = options.backend == CommBackend::kAuto || options.backend == CommBackend::kNccl;
  if (options.size == 1) {
    CommOptions one = options;
    one.backend = CommBackend::kAuto;
    return OpenRendezvous(one);
  }
  if (!nccl) {
    ASSIGN_OR_RETURN(std::unique_ptr<Rendezvous> host, OpenRendezvous(options));
    return std::make_unique<StagedRendezvous>(std::move(host), device, max_bytes, stream);
  }
  std::string text = "-";
  if (options.rank == 0) {
    ASSIGN_OR_RETURN(const ncclUniqueId id, NewNcclId());
    text = absl::BytesToHexString({id.internal, sizeof(id.internal)});
  }
  return std::make_unique<NcclRendezvous>(options,
                                          NcclOptions{.rank = options.rank,
                                                      .size = options.size,
                                                      .device = device,
                                                      .stream = stream,
                                                      .max_bytes = max_bytes},
                                          text);
}

}  // namespace pagoda::cuda
