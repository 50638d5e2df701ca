#include "kernels/comm/rendezvous.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/clock.h"
#include "common/status.h"
#include "kernels/comm/gloo_mesh.h"
#include "kernels/comm/local_mesh.h"
#include "kernels/comm/local_segment.h"
#include "kernels/comm/mesh_communicator.h"
#include "kernels/comm/single.h"

namespace pagoda {
namespace {

// An endpoint: magic epoch rank size way
constexpr absl::string_view kMagic = "pagoda-comm-1";
// From these sizes on it pays to add in parts (bench/comm).
constexpr size_t kLargeLocal = size_t{32} << 10;
constexpr size_t kLargeGloo = size_t{128} << 10;
const absl::Duration kGreetTimeout = absl::Seconds(5);

// How a rank can be reached, as three words: host segment address,address,...
// `host` and `segment` are "-" for a rank that will not use shared memory, addresses (in hex, one
// per rank) for one that will not use TCP.
struct Way {
  std::string host;
  std::string segment;
  std::vector<std::string> addresses;
};

std::string OrDash(const std::string& text) { return text.empty() ? "-" : text; }

std::string Encode(const Way& way) {
  std::vector<std::string> addresses;
  addresses.reserve(way.addresses.size());
  for (const std::string& address : way.addresses) {
    addresses.push_back(OrDash(absl::BytesToHexString(address)));
  }
  return absl::StrJoin(
      {OrDash(way.host), OrDash(way.segment), OrDash(absl::StrJoin(addresses, ","))},
      " ");
}

std::optional<Way> Decode(const std::string& text) {
  const std::vector<std::string> words = absl::StrSplit(text, ' ');
  if (words.size() != 3) return std::nullopt;
  Way way;
  if (words[0] != "-") way.host = words[0];
  if (words[1] != "-") way.segment = words[1];
  if (words[2] == "-") return way;
  for (const absl::string_view hex : absl::StrSplit(words[2], ',')) {
    way.addresses.push_back(hex == "-" ? std::string() : absl::HexStringToBytes(hex));
  }
  return way;
}

absl::StatusOr<std::vector<Way>> DecodeAll(absl::Span<const std::string> endpoints,
                                           const CommOptions& options) {
  ASSIGN_OR_RETURN(const std::vector<std::string> texts, DecodeEndpoints(endpoints, options));
  std::vector<Way> all;
  all.reserve(texts.size());
  for (size_t p = 0; p < texts.size(); ++p) {
    const std::optional<Way> way = Decode(texts[p]);
    if (!way.has_value()) {
      return absl::FailedPreconditionError(
          absl::StrCat("rank ", p, " is not reached by shared memory or TCP"));
    }
    all.push_back(*way);
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
  absl::StatusOr<std::unique_ptr<Mesh>> ConnectLocal(const std::vector<Way>& all);
  absl::StatusOr<std::unique_ptr<Mesh>> ConnectGloo(const std::vector<Way>& all);
  // Every rank is there, and is who it should be.
  absl::Status Greet(Communicator& comm) const;

  const CommOptions options_;
  std::optional<LocalSegment> segment_;
  std::unique_ptr<GlooEndpoint> gloo_;
  std::string endpoint_;
};

absl::Status MeshRendezvous::Open() {
  Way mine;
  if (options_.backend != CommBackend::kGloo) {
    ASSIGN_OR_RETURN(segment_, LocalSegment::Create());
    mine.host = HostIdentity();
    mine.segment = segment_->name();
  }
  if (options_.backend != CommBackend::kLocal) {
    ASSIGN_OR_RETURN(gloo_, OpenGlooEndpoint(options_.rank, options_.size, options_.interface));
    mine.addresses = gloo_->addresses();
  }
  endpoint_ = EncodeEndpoint(options_, Encode(mine));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Communicator>> MeshRendezvous::Connect(
    absl::Span<const std::string> endpoints) {
  ASSIGN_OR_RETURN(const std::vector<Way> all, DecodeAll(endpoints, options_));
  // Every rank sees the same endpoints and decides alike.
  bool local = true, gloo = true;
  for (const Way& way : all) {
    local = local && !way.host.empty() && way.host == all[0].host;
    gloo = gloo && way.addresses.size() == all.size();
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

absl::StatusOr<std::unique_ptr<Mesh>> MeshRendezvous::ConnectLocal(const std::vector<Way>& all) {
  std::vector<LocalSegment> segments;
  segments.reserve(all.size());
  for (const Way& way : all) {
    if (segments.size() == static_cast<size_t>(options_.rank)) {
      segments.push_back(std::move(*segment_));
    } else {
      ASSIGN_OR_RETURN(LocalSegment segment, LocalSegment::Attach(way.segment));
      segments.push_back(std::move(segment));
    }
  }
  return MakeLocalMesh(options_.rank, std::move(segments));
}

absl::StatusOr<std::unique_ptr<Mesh>> MeshRendezvous::ConnectGloo(const std::vector<Way>& all) {
  std::vector<std::string> addresses;
  addresses.reserve(all.size());
  for (const Way& way : all) addresses.push_back(way.addresses[options_.rank]);
  return gloo_->Connect(addresses);
}

}  // namespace

absl::StatusOr<CommBackend> ParseCommBackend(absl::string_view name) {
  if (name == "auto") return CommBackend::kAuto;
  if (name == "local") return CommBackend::kLocal;
  if (name == "gloo") return CommBackend::kGloo;
  if (name == "nccl") return CommBackend::kNccl;
  return absl::InvalidArgumentError(
      absl::StrCat("--comm-backend is \"", name, "\", expected auto, local, gloo or nccl"));
}

absl::Status CheckRank(const CommOptions& options) {
  const int size = options.size;
  if (size >= 1 && size <= 8 && (size & (size - 1)) == 0 && options.rank >= 0 &&
      options.rank < size) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("rank ", options.rank, " of ", size, ": a group has 1, 2, 4 or 8 ranks"));
}

std::string EncodeEndpoint(const CommOptions& options, absl::string_view way) {
  return absl::StrCat(kMagic, " ", options.epoch, " ", options.rank, " ", options.size, " ", way);
}

absl::StatusOr<std::vector<std::string>> DecodeEndpoints(absl::Span<const std::string> endpoints,
                                                         const CommOptions& options) {
  if (endpoints.size() != static_cast<size_t>(options.size)) {
    return absl::FailedPreconditionError(
        absl::StrCat(endpoints.size(), " endpoints for ", options.size, " ranks"));
  }
  std::vector<std::string> ways;
  ways.reserve(endpoints.size());
  CommOptions expected = options;
  for (expected.rank = 0; expected.rank < options.size; ++expected.rank) {
    absl::string_view text = endpoints[expected.rank];
    if (!absl::ConsumePrefix(&text, EncodeEndpoint(expected, ""))) {
      return absl::FailedPreconditionError(absl::StrCat("the endpoint of rank ",
                                                        expected.rank,
                                                        " is not one of epoch ",
                                                        options.epoch,
                                                        " with ",
                                                        options.size,
                                                        " ranks"));
    }
    ways.emplace_back(text);
  }
  return ways;
}

absl::StatusOr<std::unique_ptr<Rendezvous>> OpenRendezvous(const CommOptions& options) {
  RETURN_IF_ERROR(CheckRank(options));
  if (options.size == 1) return std::make_unique<SingleRendezvous>();
  if (options.backend == CommBackend::kNccl) {
    return absl::InvalidArgumentError(
        "--comm-backend=nccl is for ranks on GPUs; these are on CPUs");
  }
  auto rendezvous = std::make_unique<MeshRendezvous>(options);
  RETURN_IF_ERROR(rendezvous->Open());
  return rendezvous;
}

}  // namespace pagoda
