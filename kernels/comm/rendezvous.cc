#include "kernels/comm/rendezvous.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/clock.h"
#include "common/status.h"
#include "kernels/comm/gloo_mesh.h"
#include "kernels/comm/local_mesh.h"
#include "kernels/comm/local_segment.h"
#include "kernels/comm/mesh_communicator.h"
#include "kernels/comm/single.h"

namespace pagoda {
namespace {

constexpr absl::string_view kMagic = "pagoda-comm-1";
// From these sizes on it pays to add in parts (bench/comm).
constexpr size_t kLargeLocal = size_t{32} << 10;
constexpr size_t kLargeGloo = size_t{128} << 10;
const absl::Duration kGreetTimeout = absl::Seconds(5);

// What a rank tells its peers, as one line of text:
//   magic epoch rank size host segment address,address,...
// `host` and `segment` are "-" for a rank that will not use shared memory, addresses (in hex, one
// per rank) for one that will not use TCP.
struct Endpoint {
  uint64_t epoch = 0;
  int rank = 0;
  int size = 0;
  std::string host;
  std::string segment;
  std::vector<std::string> addresses;
};

std::string OrDash(const std::string& text) { return text.empty() ? "-" : text; }

std::string Encode(const Endpoint& endpoint) {
  std::vector<std::string> addresses;
  addresses.reserve(endpoint.addresses.size());
  for (const std::string& address : endpoint.addresses) {
    addresses.push_back(OrDash(absl::BytesToHexString(address)));
  }
  return absl::StrJoin({std::string(kMagic),
                        absl::StrCat(endpoint.epoch),
                        absl::StrCat(endpoint.rank),
                        absl::StrCat(endpoint.size),
                        OrDash(endpoint.host),
                        OrDash(endpoint.segment),
                        OrDash(absl::StrJoin(addresses, ","))},
                       " ");
}

std::optional<Endpoint> Decode(const std::string& text) {
  const std::vector<std::string> words = absl::StrSplit(text, ' ');
  Endpoint endpoint;
  if (words.size() != 7 || words[0] != kMagic || !absl::SimpleAtoi(words[1], &endpoint.epoch) ||
      !absl::SimpleAtoi(words[2], &endpoint.rank) || !absl::SimpleAtoi(words[3], &endpoint.size)) {
    return std::nullopt;
  }
  if (words[4] != "-") endpoint.host = words[4];
  if (words[5] != "-") endpoint.segment = words[5];
  if (words[6] == "-") return endpoint;
  for (const absl::string_view hex : absl::StrSplit(words[6], ',')) {
    endpoint.addresses.push_back(hex == "-" ? std::string() : absl::HexStringToBytes(hex));
  }
  return endpoint;
}

// The endpoints of one epoch, by rank.
absl::StatusOr<std::vector<Endpoint>> DecodeAll(absl::Span<const std::string> texts,
                                                const CommOptions& options) {
  if (texts.size() != static_cast<size_t>(options.size)) {
    return absl::FailedPreconditionError(
        absl::StrCat(texts.size(), " endpoints for ", options.size, " ranks"));
  }
  std::vector<Endpoint> all;
  all.reserve(texts.size());
  for (size_t p = 0; p < texts.size(); ++p) {
    const std::optional<Endpoint> endpoint = Decode(texts[p]);
    if (!endpoint.has_value() || endpoint->rank != static_cast<int>(p) ||
        endpoint->size != options.size || endpoint->epoch != options.epoch) {
      return absl::FailedPreconditionError(absl::StrCat("the endpoint of rank ",
                                                        p,
                                                        " is not one of epoch ",
                                                        options.epoch,
                                                        " with ",
                                                        options.size,
                                                        " ranks"));
    }
    all.push_back(*endpoint);
  }
  return all;
}

class SingleRendezvous final : public Rendezvous {
 public:
  const std::string& endpoint() const override { return endpoint_; }
  absl::StatusOr<std::unique_ptr<Communicator>> Connect(absl::Span<const std::string>) override {
    return MakeSingleCommunicator();
  }

 private:
  const std::string endpoint_;  // nobody needs one
};

class MeshRendezvous final : public Rendezvous {
 public:
  explicit MeshRendezvous(const CommOptions& options) : options_(options) {}

  absl::Status Open();
  const std::string& endpoint() const override { return endpoint_; }
  absl::StatusOr<std::unique_ptr<Communicator>> Connect(
      absl::Span<const std::string> endpoints) override;

 private:
  absl::StatusOr<std::unique_ptr<Mesh>> ConnectLocal(const std::vector<Endpoint>& all);
  absl::StatusOr<std::unique_ptr<Mesh>> ConnectGloo(const std::vector<Endpoint>& all);
  // Every rank is there, and is who it should be.
  absl::Status Greet(Communicator& comm) const;

  const CommOptions options_;
  std::optional<LocalSegment> segment_;
  std::unique_ptr<GlooEndpoint> gloo_;
  std::string endpoint_;
};

absl::Status MeshRendezvous::Open() {
  Endpoint mine{.epoch = options_.epoch, .rank = options_.rank, .size = options_.size};
  if (options_.backend != CommBackend::kGloo) {
    ASSIGN_OR_RETURN(segment_, LocalSegment::Create());
    mine.host = HostIdentity();
    mine.segment = segment_->name();
  }
  if (options_.backend != CommBackend::kLocal) {
    ASSIGN_OR_RETURN(gloo_, OpenGlooEndpoint(options_.rank, options_.size, options_.interface));
    mine.addresses = gloo_->addresses();
  }
  endpoint_ = Encode(mine);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Communicator>> MeshRendezvous::Connect(
    absl::Span<const std::string> endpoints) {
  ASSIGN_OR_RETURN(const std::vector<Endpoint> all, DecodeAll(endpoints, options_));
  // Every rank sees the same endpoints and decides alike.
  bool local = true, gloo = true;
  for (const Endpoint& endpoint : all) {
    local = local && !endpoint.host.empty() && endpoint.host == all[0].host;
    gloo = gloo && endpoint.addresses.size() == all.size();
  }
  if (!local && !gloo) {
    return absl::FailedPreconditionError(
        "the ranks share no way to each other: they are on several hosts, and --comm-backend is "
        "local on one of them");
  }
  if (local) gloo_.reset();
  ASSIGN_OR_RETURN(std::unique_ptr<Mesh> mesh, local ? ConnectLocal(all) : ConnectGloo(all));
  std::unique_ptr<Communicator> comm =
      MakeMeshCommunicator(std::move(mesh), local ? kLargeLocal : kLargeGloo);
  RETURN_IF_ERROR(Greet(*comm));
  return comm;
}

absl::Status MeshRendezvous::Greet(Communicator& comm) const {
  const uint64_t mine = options_.epoch;
  std::vector<uint64_t> all(options_.size);
  comm.SetDeadline(RealClock()->Now() + kGreetTimeout);
  RETURN_IF_ERROR(
      comm.AllGather({reinterpret_cast<const std::byte*>(&mine), sizeof(mine)},
                     {reinterpret_cast<std::byte*>(all.data()), all.size() * sizeof(mine)}));
  comm.SetDeadline(absl::InfiniteFuture());
  for (const uint64_t epoch : all) {
    if (epoch != mine) return absl::FailedPreconditionError("a stranger took a rank's place");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Mesh>> MeshRendezvous::ConnectLocal(
    const std::vector<Endpoint>& all) {
  std::vector<LocalSegment> segments;
  segments.reserve(all.size());
  for (const Endpoint& endpoint : all) {
    if (endpoint.rank == options_.rank) {
      segments.push_back(std::move(*segment_));
    } else {
      ASSIGN_OR_RETURN(LocalSegment segment, LocalSegment::Attach(endpoint.segment));
      segments.push_back(std::move(segment));
    }
  }
  return MakeLocalMesh(options_.rank, std::move(segments));
}

absl::StatusOr<std::unique_ptr<Mesh>> MeshRendezvous::ConnectGloo(
    const std::vector<Endpoint>& all) {
  std::vector<std::string> addresses;
  addresses.reserve(all.size());
  for (const Endpoint& endpoint : all) addresses.push_back(endpoint.addresses[options_.rank]);
  return gloo_->Connect(addresses);
}

}  // namespace

absl::StatusOr<CommBackend> ParseCommBackend(absl::string_view name) {
  if (name == "auto") return CommBackend::kAuto;
  if (name == "local") return CommBackend::kLocal;
  if (name == "gloo") return CommBackend::kGloo;
  return absl::InvalidArgumentError(
      absl::StrCat("--comm-backend is \"", name, "\", expected auto, local or gloo"));
}

absl::StatusOr<std::unique_ptr<Rendezvous>> OpenRendezvous(const CommOptions& options) {
  const int size = options.size;
  if (size < 1 || size > 8 || (size & (size - 1)) != 0 || options.rank < 0 ||
      options.rank >= size) {
    return absl::InvalidArgumentError(
        absl::StrCat("rank ", options.rank, " of ", size, ": a group has 1, 2, 4 or 8 ranks"));
  }
  if (size == 1) return std::make_unique<SingleRendezvous>();
  auto rendezvous = std::make_unique<MeshRendezvous>(options);
  RETURN_IF_ERROR(rendezvous->Open());
  return rendezvous;
}

}  // namespace pagoda
