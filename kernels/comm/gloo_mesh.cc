#include "kernels/comm/gloo_mesh.h"

#include <arpa/inet.h>
#include <gloo/transport/context.h>
#include <gloo/transport/device.h>
#include <gloo/transport/pair.h>
#include <gloo/transport/tcp/device.h>
#include <gloo/transport/unbound_buffer.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "common/status.h"

namespace pagoda {
namespace {

using Buffer = std::unique_ptr<gloo::transport::UnboundBuffer>;

constexpr size_t kCapacity = size_t{4} << 20;
// Gloo waits five times as long for a connection.
constexpr std::chrono::milliseconds kPairTimeout(1000);

// Gloo's context keeps no owner of its device.
struct Wire {
  std::shared_ptr<gloo::transport::Device> device;
  std::shared_ptr<gloo::transport::Context> context;
};

// Gloo's messages begin with a place in its source: "[/some/path.cc:123] ".
std::string What(const std::exception& error) {
  const std::string text = error.what();
  const size_t end = text.empty() || text[0] != '[' ? std::string::npos : text.find("] ");
  return end == std::string::npos ? text : text.substr(end + 2);
}

// Calls `fn`, which may throw.
template <class Fn>
absl::Status Guarded(const std::string& what, const Fn& fn) {
  try {
    fn();
    return absl::OkStatus();
  } catch (const std::exception& error) {
    return absl::UnavailableError(absl::StrCat(what, ": ", What(error)));
  }
}

class GlooMesh final : public Mesh {
 public:
  GlooMesh(Wire wire, int rank, int size) : wire_(std::move(wire)), rank_(rank), size_(size) {
    scratch_.resize(size);
    receives_.resize(size);
    for (int p = 0; p < size; ++p) {
      if (p == rank) continue;
      scratch_[p] = std::make_unique_for_overwrite<std::byte[]>(kCapacity);
      receives_[p] = wire_.context->createUnboundBuffer(scratch_[p].get(), kCapacity);
    }
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  size_t capacity() const override { return kCapacity; }

  absl::Status Exchange(absl::Span<const std::byte> mine,
                        absl::Span<const ByteRange> give,
                        absl::Span<const ByteRange> take,
                        absl::Time deadline,
                        absl::Span<const std::byte*> taken) override;
  void Abort() override;

 private:
  absl::Status Post(absl::Span<const ByteRange> give, absl::Span<const ByteRange> take);
  absl::Status AwaitAll(absl::Span<const ByteRange> give,
                        absl::Span<const ByteRange> take,
                        absl::Time deadline);
  // `wait` is waitRecv or waitSend: false when it was aborted, throws when it timed out.
  template <class Wait>
  absl::Status Await(const std::string& what, absl::Time deadline, const Wait& wait);
  // CANCELLED after an Abort; later ones find the buffer.
  absl::Status SetSend(Buffer send);

  const Wire wire_;
  const int rank_;
  const int size_;
  uint64_t exchange_ = 0;                              // the number of messages' slot
  std::vector<std::unique_ptr<std::byte[]>> scratch_;  // by peer: what it gave
  std::vector<Buffer> receives_;                       // by peer, over scratch_
  absl::Status end_;                                   // not OK: over

  Mutex mutex_;
  bool aborted_ ABSL_GUARDED_BY(mutex_) = false;
  // Of the exchange at hand. Replaced under the mutex, which keeps Abort from a dead one.
  Buffer send_;
};

absl::Status GlooMesh::Exchange(absl::Span<const std::byte> mine,
                                absl::Span<const ByteRange> give,
                                absl::Span<const ByteRange> take,
                                absl::Time deadline,
                                absl::Span<const std::byte*> taken) {
  RETURN_IF_ERROR(end_);
  ++exchange_;
  end_ =
      SetSend(wire_.context->createUnboundBuffer(const_cast<std::byte*>(mine.data()), mine.size()));
  if (end_.ok()) end_ = Post(give, take);
  if (end_.ok()) end_ = AwaitAll(give, take, deadline);
  for (int p = 0; p < size_; ++p) taken[p] = scratch_[p].get();
  return end_;
}

absl::Status GlooMesh::Post(absl::Span<const ByteRange> give, absl::Span<const ByteRange> take) {
  return Guarded("a message to the peers", [&] {
    for (int p = 0; p < size_; ++p) {
      if (p == rank_ || take[p].size == 0) continue;
      CHECK_LE(take[p].size, kCapacity);
      receives_[p]->recv(p, exchange_, 0, take[p].size);
    }
    for (int p = 0; p < size_; ++p) {
      if (p == rank_ || give[p].size == 0) continue;
      send_->send(p, exchange_, give[p].begin, give[p].size);
    }
  });
}

absl::Status GlooMesh::AwaitAll(absl::Span<const ByteRange> give,
                                absl::Span<const ByteRange> take,
                                absl::Time deadline) {
  for (int p = 0; p < size_; ++p) {
    if (p == rank_ || take[p].size == 0) continue;
    RETURN_IF_ERROR(Await(absl::StrCat("rank ", p), deadline, [&](auto timeout) {
      return receives_[p]->waitRecv(timeout);
    }));
  }
  for (int p = 0; p < size_; ++p) {
    if (p == rank_ || give[p].size == 0) continue;
    RETURN_IF_ERROR(
        Await("a peer", deadline, [&](auto timeout) { return send_->waitSend(timeout); }));
  }
  return absl::OkStatus();
}

template <class Wait>
absl::Status GlooMesh::Await(const std::string& what, absl::Time deadline, const Wait& wait) {
  // Gloo takes 0 for its own default. A day stands for no limit.
  const absl::Duration left =
      std::clamp(deadline - RealClock()->Now(), absl::Milliseconds(1), absl::Hours(24));
  bool done = false;
  absl::Status status = Guarded(what, [&] { done = wait(absl::ToChronoMilliseconds(left)); });
  {
    MutexLock lock(&mutex_);
    if (aborted_) return absl::CancelledError("communicator aborted");
  }
  if (!status.ok() && RealClock()->Now() >= deadline) {
    return absl::DeadlineExceededError(absl::StrCat(what, " did not come in time"));
  }
  if (status.ok() && !done) return absl::CancelledError("communicator aborted");
  return status;
}

absl::Status GlooMesh::SetSend(Buffer send) {
  MutexLock lock(&mutex_);
  send_ = std::move(send);
  return aborted_ ? absl::CancelledError("communicator aborted") : absl::OkStatus();
}

void GlooMesh::Abort() {
  MutexLock lock(&mutex_);
  aborted_ = true;
  for (const Buffer& receive : receives_) {
    if (receive != nullptr) receive->abortWaitRecv();
  }
  if (send_ != nullptr) send_->abortWaitSend();
}

// Gloo's address begins with a sockaddr_storage whose end it does not set: what happened to be in
// memory there is nobody's business.
std::string Cleared(const std::vector<char>& address) {
  std::string bytes(address.begin(), address.end());
  sockaddr_storage storage;
  if (bytes.size() < sizeof(storage)) return bytes;
  std::memcpy(&storage, bytes.data(), sizeof(storage));
  const size_t used = storage.ss_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  std::fill(bytes.begin() + used, bytes.begin() + sizeof(storage), '\0');
  return bytes;
}

class TcpEndpoint final : public GlooEndpoint {
 public:
  TcpEndpoint(Wire wire, int rank, int size) : wire_(std::move(wire)), rank_(rank), size_(size) {
    addresses_.resize(size);
    for (int p = 0; p < size; ++p) {
      if (p == rank) continue;
      addresses_[p] = Cleared(wire_.context->createPair(p)->address().bytes());
    }
  }

  const std::vector<std::string>& addresses() const override { return addresses_; }

  absl::StatusOr<std::unique_ptr<Mesh>> Connect(absl::Span<const std::string> addresses) override {
    CHECK_EQ(addresses.size(), static_cast<size_t>(size_));
    for (int p = 0; p < size_; ++p) {
      if (p == rank_) continue;
      RETURN_IF_ERROR(Guarded(absl::StrCat("rank ", p, " cannot be reached"), [&] {
        wire_.context->getPair(p)->connect({addresses[p].begin(), addresses[p].end()});
      }));
    }
    return std::make_unique<GlooMesh>(std::move(wire_), rank_, size_);
  }

 private:
  Wire wire_;
  const int rank_;
  const int size_;
  std::vector<std::string> addresses_;  // by peer
};

// Whether `address` can be bound here. (Gloo would say so by throwing, and leak.)
template <class Sockaddr>
bool Binds(const Sockaddr& address, int family) {
  const int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const bool bound = bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  close(fd);
  return bound;
}

bool IsOwnAddress(const std::string& text) {
  sockaddr_in v4 = {.sin_family = AF_INET};
  if (inet_pton(AF_INET, text.c_str(), &v4.sin_addr) == 1) return Binds(v4, AF_INET);
  sockaddr_in6 v6 = {.sin6_family = AF_INET6};
  return inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr) == 1 && Binds(v6, AF_INET6);
}

}  // namespace

absl::StatusOr<std::unique_ptr<GlooEndpoint>> OpenGlooEndpoint(int rank,
                                                               int size,
                                                               const std::string& interface) {
  gloo::transport::tcp::attr attributes;
  if (IsOwnAddress(interface)) {
    attributes.hostname = interface;
  } else if (if_nametoindex(interface.c_str()) != 0) {
    attributes.iface = interface;
  } else {
    return absl::InvalidArgumentError(absl::StrCat(
        "--comm-interface is \"",
        interface,
        "\", which is neither a network interface of this host nor one of its addresses"));
  }
  std::unique_ptr<GlooEndpoint> endpoint;
  const absl::Status status = Guarded(absl::StrCat("--comm-interface ", interface), [&] {
    Wire wire;
    wire.device = gloo::transport::tcp::CreateDevice(attributes);
    wire.context = wire.device->createContext(rank, size);
    wire.context->setTimeout(kPairTimeout);
    endpoint = std::make_unique<TcpEndpoint>(std::move(wire), rank, size);
  });
  if (!status.ok()) return absl::InvalidArgumentError(status.message());
  return endpoint;
}

}  // namespace pagoda
