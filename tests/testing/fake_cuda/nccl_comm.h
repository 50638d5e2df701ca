// A rank of the fake NCCL: a Unix socket to every other rank, and operations that are moved on a
// little by every attempt. Used with the runtime's lock held.
#pragma once

#include <poll.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/testing/fake_cuda/include/nccl.h"

namespace pagoda::fake_cuda {

// One message between two ranks.
struct Transfer {
  enum class Kind : uint32_t { kSend, kReceive };
  Kind kind = Kind::kSend;
  int peer = 0;
  void* data = nullptr;  // of the device
  size_t bytes = 0;
  // What both ends must agree on.
  uint32_t collective = 0;  // 0: point to point, 1: all-gather
  uint32_t type = 0;
};

// Goes before the bytes.
struct MessageHeader {
  uint32_t collective = 0;
  uint32_t type = 0;
  uint64_t number = 0;  // of the messages from this rank to that one
  uint64_t bytes = 0;
};

class NcclComm {
 public:
  // Ranks with the same name meet.
  NcclComm(std::string name, int rank, int ranks);
  ~NcclComm();
  NcclComm(const NcclComm&) = delete;
  NcclComm& operator=(const NcclComm&) = delete;

  int rank() const { return rank_; }
  int ranks() const { return static_cast<int>(peers_.size()); }

  // ncclInProgress until all ranks have met; then ncclSuccess, or the first error.
  ncclResult_t Connect();
  // After it nothing is sent or received, and every operation is at once over.
  void Abort();
  const std::string& message() const { return message_; }

  // Moves the messages of one operation on; true: all are done. One operation at a time.
  class Operation {
   public:
    explicit Operation(std::vector<Transfer> transfers) : transfers_(std::move(transfers)) {}
    bool Attempt(NcclComm* comm);
    void Wakers(const NcclComm& comm, std::vector<pollfd>* wakers) const;

   private:
    struct Progress {
      MessageHeader header;
      std::vector<std::byte> bytes;  // on their way
      size_t done = 0;               // of header and bytes
      bool is_over = false;
    };
    void Begin(NcclComm* comm);
    bool Send(NcclComm* comm, const Transfer& transfer, Progress* progress);
    bool Receive(NcclComm* comm, const Transfer& transfer, Progress* progress);
    // Whether a message is the one that is waited for; else the communicator fails.
    static bool Matches(NcclComm* comm, const Transfer& transfer, const MessageHeader& header);
    void CopyToSelf();

    const std::vector<Transfer> transfers_;
    std::vector<Progress> progress_;  // empty between two runs
  };

 private:
  struct Peer {
    int socket = -1;
    bool is_connected = false;
    uint64_t sent = 0;
    uint64_t received = 0;
  };

  void Listen();
  void Accept();
  void ConnectTo(int peer);
  void Fail(ncclResult_t error, std::string message);

  const std::string name_;
  const int rank_;
  int listener_ = -1;
  std::vector<Peer> peers_;
  std::vector<int> greeting_;  // accepted, their rank not read yet
  bool is_aborted_ = false;
  const Operation* running_ = nullptr;
  ncclResult_t error_ = ncclSuccess;
  std::string message_;
};

// Whether an abort never returns, as that of a device that is lost may not.
inline std::atomic<bool> nccl_aborts_hang = false;

}  // namespace pagoda::fake_cuda
