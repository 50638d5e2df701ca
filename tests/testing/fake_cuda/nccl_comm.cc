#include "tests/testing/fake_cuda/nccl_comm.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace pagoda::fake_cuda {
namespace {

int MakeSocket() {
  const int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  CHECK_GE(made, 0);
  return made;
}

// A name that is no file and goes with its process.
std::pair<sockaddr_un, socklen_t> AddressOf(const std::string& name, int rank) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string text = absl::StrCat(name, "-", rank);
  CHECK_LT(text.size() + 1, sizeof(address.sun_path));
  std::memcpy(address.sun_path + 1, text.data(), text.size());
  return {address, static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size())};
}

}  // namespace

NcclComm::NcclComm(std::string name, int rank, int ranks)
    : name_(std::move(name)), rank_(rank), peers_(ranks) {
  Listen();
}

NcclComm::~NcclComm() { Abort(); }

void NcclComm::Listen() {
  listener_ = MakeSocket();
  const auto [address, size] = AddressOf(name_, rank_);
  if (bind(listener_, reinterpret_cast<const sockaddr*>(&address), size) != 0) {
    Fail(ncclInvalidUsage, absl::StrCat("rank ", rank_, " is there already"));
    return;
  }
  CHECK_EQ(listen(listener_, static_cast<int>(peers_.size())), 0);
}

void NcclComm::Fail(ncclResult_t error, std::string message) {
  if (error_ != ncclSuccess) return;
  error_ = error;
  message_ = std::move(message);
}

void NcclComm::Abort() {
  is_aborted_ = true;
  for (int* fd : {&listener_}) {
    if (*fd >= 0) close(std::exchange(*fd, -1));
  }
  for (Peer& peer : peers_) {
    if (peer.socket >= 0) close(std::exchange(peer.socket, -1));
  }
  for (const int fd : std::exchange(greeting_, {})) close(fd);
}

ncclResult_t NcclComm::Connect() {
  if (error_ != ncclSuccess) return error_;
  if (is_aborted_) return ncclInvalidUsage;
  Accept();
  bool all = true;
  for (int peer = 0; peer < ranks(); ++peer) {
    if (peer < rank_ && !peers_[peer].is_connected) ConnectTo(peer);
    all = all && (peer == rank_ || peers_[peer].is_connected);
  }
  return all ? ncclSuccess : ncclInProgress;
}

// The lower rank is called and told who calls.
void NcclComm::ConnectTo(int peer) {
  const int made = MakeSocket();
  const auto [address, size] = AddressOf(name_, peer);
  const int32_t hello[2] = {rank_, ranks()};
  if (connect(made, reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      send(made, hello, sizeof hello, MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof hello)) {
    close(made);  // it does not listen yet
    return;
  }
  peers_[peer].socket = made;
  peers_[peer].is_connected = true;
}

void NcclComm::Accept() {
  for (int made;
       (made = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0;) {
    greeting_.push_back(made);
  }
  std::erase_if(greeting_, [this](int made) {
    int32_t hello[2];
    if (recv(made, hello, sizeof hello, 0) != static_cast<ssize_t>(sizeof hello)) return false;
    if (hello[0] <= rank_ || hello[0] >= ranks() || hello[1] != ranks()) {
      Fail(ncclInvalidUsage,
           absl::StrCat("rank ", hello[0], " of ", hello[1], " joins a group of ", ranks()));
      close(made);
      return true;
    }
    peers_[hello[0]].socket = made;
    peers_[hello[0]].is_connected = true;
    return true;
  });
}

bool NcclComm::Operation::Attempt(NcclComm* comm) {
  if (comm->is_aborted_) return true;
  if (comm->error_ != ncclSuccess || comm->Connect() != ncclSuccess) return false;
  if (comm->running_ != nullptr && comm->running_ != this) return false;
  if (progress_.empty()) Begin(comm);
  bool all = true;
  for (size_t i = 0; i < transfers_.size(); ++i) {
    const Transfer& transfer = transfers_[i];
    Progress& progress = progress_[i];
    if (!progress.is_over) {
      progress.is_over = transfer.kind == Transfer::Kind::kSend
                             ? Send(comm, transfer, &progress)
                             : Receive(comm, transfer, &progress);
    }
    all = all && progress.is_over;
  }
  if (!all) return false;
  CopyToSelf();
  progress_.clear();
  comm->running_ = nullptr;
  return true;
}

// What is sent is read now: the stream has come to this operation.
void NcclComm::Operation::Begin(NcclComm* comm) {
  comm->running_ = this;
  progress_.resize(transfers_.size());
  for (size_t i = 0; i < transfers_.size(); ++i) {
    const Transfer& transfer = transfers_[i];
    Progress& progress = progress_[i];
    progress.bytes.resize(transfer.bytes);
    progress.is_over = transfer.peer == comm->rank();
    if (transfer.kind == Transfer::Kind::kReceive) continue;
    std::memcpy(progress.bytes.data(), transfer.data, transfer.bytes);
    if (progress.is_over) continue;
    progress.header = {transfer.collective,
                       transfer.type,
                       comm->peers_[transfer.peer].sent++,
                       transfer.bytes};
  }
}

bool NcclComm::Operation::Send(NcclComm* comm, const Transfer& transfer, Progress* progress) {
  const int socket = comm->peers_[transfer.peer].socket;
  constexpr size_t kHeader = sizeof(MessageHeader);
  while (progress->done < kHeader + progress->bytes.size()) {
    const bool in_header = progress->done < kHeader;
    const auto* const from = in_header ? reinterpret_cast<const std::byte*>(&progress->header)
                                       : progress->bytes.data() - kHeader;
    const size_t left = (in_header ? kHeader : kHeader + progress->bytes.size()) - progress->done;
    const ssize_t sent = send(socket, from + progress->done, left, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    progress->done += static_cast<size_t>(sent);
  }
  return true;
}

bool NcclComm::Operation::Matches(NcclComm* comm,
                                  const Transfer& transfer,
                                  const MessageHeader& header) {
  const uint64_t number = comm->peers_[transfer.peer].received;
  if (header.collective == transfer.collective && header.type == transfer.type &&
      header.bytes == transfer.bytes && header.number == number) {
    return true;
  }
  const auto describe = [](uint64_t n, uint64_t bytes, uint32_t type, uint32_t collective) {
    return absl::StrCat("message ",
                        n,
                        " of ",
                        bytes,
                        " bytes (type ",
                        type,
                        ", collective ",
                        collective,
                        ")");
  };
  comm->Fail(ncclInvalidUsage,
             absl::StrCat("rank ",
                          transfer.peer,
                          " sent ",
                          describe(header.number, header.bytes, header.type, header.collective),
                          " where rank ",
                          comm->rank(),
                          " waits for ",
                          describe(number, transfer.bytes, transfer.type, transfer.collective)));
  return false;
}

bool NcclComm::Operation::Receive(NcclComm* comm, const Transfer& transfer, Progress* progress) {
  Peer& peer = comm->peers_[transfer.peer];
  constexpr size_t kHeader = sizeof(MessageHeader);
  while (progress->done < kHeader + progress->bytes.size()) {
    const bool in_header = progress->done < kHeader;
    auto* const to = in_header ? reinterpret_cast<std::byte*>(&progress->header)
                               : progress->bytes.data() - kHeader;
    const size_t left = (in_header ? kHeader : kHeader + progress->bytes.size()) - progress->done;
    const ssize_t got = recv(peer.socket, to + progress->done, left, 0);
    if (got <= 0) return false;  // not yet, or never
    progress->done += static_cast<size_t>(got);
    if (progress->done == kHeader && !Matches(comm, transfer, progress->header)) return false;
  }
  ++peer.received;
  std::memcpy(transfer.data, progress->bytes.data(), transfer.bytes);
  return true;
}

// Messages from this rank to itself, first to first.
void NcclComm::Operation::CopyToSelf() {
  std::vector<size_t> sends, receives;
  for (size_t i = 0; i < transfers_.size(); ++i) {
    if (progress_[i].done > 0 || transfers_[i].bytes == 0) continue;
    (transfers_[i].kind == Transfer::Kind::kSend ? sends : receives).push_back(i);
  }
  for (size_t i = 0; i < std::min(sends.size(), receives.size()); ++i) {
    CHECK_EQ(transfers_[sends[i]].bytes, transfers_[receives[i]].bytes);
    std::memcpy(transfers_[receives[i]].data,
                progress_[sends[i]].bytes.data(),
                transfers_[sends[i]].bytes);
  }
}

void NcclComm::Operation::Wakers(const NcclComm& comm, std::vector<pollfd>* wakers) const {
  for (size_t i = 0; i < progress_.size(); ++i) {
    if (progress_[i].is_over) continue;
    const bool sends = transfers_[i].kind == Transfer::Kind::kSend;
    const short events = sends ? POLLOUT : POLLIN;
    wakers->push_back({.fd = comm.peers_[transfers_[i].peer].socket, .events = events});
  }
}

}  // namespace pagoda::fake_cuda
