#include "kernels/cuda/nccl_communicator.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>
#include <thread>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mutex.h"
#include "common/status.h"
#include "kernels/cuda/comm_ops.h"
#include "kernels/cuda/libraries/nccl_api.h"
#include "kernels/cuda/resources.h"
#include "kernels/cuda/status.h"

namespace pagoda::cuda {
namespace {

// From this size on a sum is made in parts, one on each rank.
constexpr size_t kLargeBytes = size_t{256} << 10;
constexpr int64_t kPartWords = 64;  // parts begin on so many
const absl::Duration kLookEvery = absl::Milliseconds(100);
// An operation is queued within less; a sleep is longer than it says.
const absl::Duration kSpin = absl::Microseconds(300);
const absl::Duration kPollEvery = absl::Microseconds(20);

absl::Status Aborted() { return absl::CancelledError("communicator aborted"); }

// Aborts within the limit, or ends the process: its stream would wait for ever.
void AbortOrEnd(const NcclApi& api, ncclComm_t comm, int device, absl::Duration limit) {
  if (comm == nullptr) return;
  Mutex mutex;
  CondVar changed;
  bool done = false;
  std::thread aborter([&] {
    static_cast<void>(cudaSetDevice(device));
    static_cast<void>(api.CommAbort(comm));
    MutexLock lock(&mutex);
    done = true;
    changed.SignalAll();
  });
  {
    MutexLock lock(&mutex);
    const absl::Time until = RealClock()->Now() + limit;
    while (!done && changed.WaitUntil(&mutex, until)) {
    }
    if (!done) {
      log::Error(
          "worker ends",
          {{"reason", absl::StrCat("NCCL did not abort within ", absl::FormatDuration(limit))}});
      std::_Exit(1);
    }
  }
  aborter.join();
}

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(const NcclApi& api, const NcclOptions& options) : api_(api), options_(options) {}
  ~NcclCommunicator() override;

  absl::Status Connect(const ncclUniqueId& id);

  int rank() const override { return options_.rank; }
  int size() const override { return options_.size; }
  absl::Status status() const override ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(&mutex_);
    return status_;
  }

  void SetDeadline(absl::Time deadline) override ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(&mutex_);
    const bool is_earlier = deadline < deadline_;
    deadline_ = deadline;
    if (is_earlier) changed_.SignalAll();
  }

  absl::Status AllReduce(absl::Span<float> data) override {
    return Reduce(reinterpret_cast<uint32_t*>(data.data()), data.size(), CombineOp::kAdd);
  }
  absl::Status AllMerge(absl::Span<uint32_t> words) override {
    return Reduce(words.data(), words.size(), CombineOp::kOr);
  }
  absl::Status AllGather(absl::Span<const std::byte> mine, absl::Span<std::byte> all) override;
  absl::Status Gather(absl::Span<const std::byte> mine,
                      absl::Span<std::byte> all,
                      int root) override;
  absl::Status Broadcast(absl::Span<std::byte> data, int root) override;

  // Waits for nothing: the watchdog does what takes time.
  void Abort() override ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(&mutex_);
    if (status_.ok()) status_ = Aborted();
    changed_.SignalAll();
  }

 private:
  // A part of the words, for each rank one.
  struct Part {
    int64_t begin;
    int64_t count;
  };

  absl::Status Reduce(uint32_t* words, size_t count, CombineOp op);
  absl::Status ReduceWhole(uint32_t* words, int64_t count, CombineOp op);
  absl::Status ReduceByParts(uint32_t* words, int64_t count, CombineOp op);
  absl::Status Combine(const CombineArgs& args) {
    return ToStatus(RunCombine(size(), args, options_.stream), "adding what ranks have sent");
  }

  // Queues one operation of NCCL's: `calls`, as one group.
  absl::Status Queue(absl::FunctionRef<ncclResult_t(ncclComm_t comm)> calls)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Waits until NCCL has done, on the host, what it was asked to.
  absl::Status Settle(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status ToError(ncclResult_t result) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Late() const;
  // The first failure is the communicator's end. Answers it.
  absl::Status Fail(absl::Status status) ABSL_LOCKS_EXCLUDED(mutex_);

  void Watch() ABSL_LOCKS_EXCLUDED(mutex_);
  // What the watchdog finds wrong.
  absl::Status Look() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  ncclResult_t SendBytes(const void* data, size_t bytes, int peer, ncclComm_t comm) const {
    if (bytes == 0) return ncclSuccess;
    return Begun(api_.Send(data, bytes, ncclUint8, peer, comm, options_.stream));
  }
  ncclResult_t ReceiveBytes(void* data, size_t bytes, int peer, ncclComm_t comm) const {
    if (bytes == 0) return ncclSuccess;
    return Begun(api_.Recv(data, bytes, ncclUint8, peer, comm, options_.stream));
  }
  // Inside of a group the next call may follow at once.
  static ncclResult_t Begun(ncclResult_t result) {
    return result == ncclInProgress ? ncclSuccess : result;
  }

  const NcclApi& api_;
  const NcclOptions options_;
  DeviceBuffer received_;  // of all ranks
  Event last_;             // after the last operation

  mutable Mutex mutex_;
  CondVar changed_;
  ncclComm_t comm_ ABSL_GUARDED_BY(mutex_) = nullptr;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  absl::Time deadline_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  bool queued_ ABSL_GUARDED_BY(mutex_) = false;  // last_ was recorded and has not been seen to come
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread watchdog_;
};

absl::Status NcclCommunicator::Connect(const ncclUniqueId& id) {
  const size_t parts = options_.max_bytes + size() * kPartWords * sizeof(uint32_t);
  ASSIGN_OR_RETURN(received_, DeviceBuffer::Make(std::max(parts, size() * kLargeBytes)));
  ASSIGN_OR_RETURN(last_, MakeEvent());
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  {
    MutexLock lock(&mutex_);
    const ncclResult_t result = api_.CommInitRankConfig(&comm_, size(), id, rank(), &config);
    if (result != ncclSuccess && result != ncclInProgress) return ToError(result);
  }
  RETURN_IF_ERROR(Settle(RealClock()->Now() + options_.connect_timeout));
  watchdog_ = std::thread([this] { Watch(); });
  return absl::OkStatus();
}

NcclCommunicator::~NcclCommunicator() {
  {
    MutexLock lock(&mutex_);
    ending_ = true;
    changed_.SignalAll();
  }
  if (watchdog_.joinable()) watchdog_.join();
  // Peers may be gone: an abort alone waits for nobody.
  static_cast<void>(Fail(Aborted()));
}

absl::Status NcclCommunicator::ToError(ncclResult_t result) const {
  const char* const detail = comm_ == nullptr ? "" : api_.GetLastError(comm_);
  const std::string message = absl::StrCat("NCCL: ", api_.GetErrorString(result), ": ", detail);
  return result == ncclRemoteError || result == ncclSystemError ? absl::UnavailableError(message)
                                                                : absl::AbortedError(message);
}

absl::Status NcclCommunicator::Late() const {
  return absl::DeadlineExceededError(
      size() == 2 ? absl::StrCat("rank ", 1 - rank(), " did not come in time")
                  : "a rank did not come in time");
}

absl::Status NcclCommunicator::Fail(absl::Status status) {
  ncclComm_t comm = nullptr;
  {
    MutexLock lock(&mutex_);
    if (status_.ok()) status_ = std::move(status);
    comm = std::exchange(comm_, nullptr);
    status = status_;
  }
  AbortOrEnd(api_, comm, options_.device, options_.abort_timeout);
  return status;
}

absl::Status NcclCommunicator::Queue(absl::FunctionRef<ncclResult_t(ncclComm_t comm)> calls) {
  absl::Status failed;
  absl::Time deadline;
  {
    MutexLock lock(&mutex_);
    RETURN_IF_ERROR(status_);
    deadline = deadline_;
    ncclResult_t result = api_.GroupStart();
    if (result == ncclSuccess) result = calls(comm_);
    const ncclResult_t end = api_.GroupEnd();
    if (result == ncclSuccess) result = end;
    if (result != ncclSuccess && result != ncclInProgress) failed = ToError(result);
  }
  if (!failed.ok()) return Fail(failed);
  RETURN_IF_ERROR(Settle(deadline));
  MutexLock lock(&mutex_);
  if (!std::exchange(queued_, true)) changed_.SignalAll();
  return ToStatus(cudaEventRecord(last_.get(), options_.stream), "queueing an operation");
}

absl::Status NcclCommunicator::Settle(absl::Time deadline) {
  const absl::Time soon = RealClock()->Now() + kSpin;
  while (true) {
    absl::Status failed;
    {
      MutexLock lock(&mutex_);
      RETURN_IF_ERROR(status_);
      ncclResult_t state = ncclSuccess;
      const ncclResult_t asked = api_.CommGetAsyncError(comm_, &state);
      if (asked == ncclSuccess && state == ncclSuccess) return absl::OkStatus();
      if (asked != ncclSuccess || state != ncclInProgress) {
        failed = ToError(asked != ncclSuccess ? asked : state);
      } else if (RealClock()->Now() >= deadline) {
        failed = Late();
      }
    }
    if (!failed.ok()) return Fail(failed);
    // NCCL has nothing that one could wait for.
    if (RealClock()->Now() < soon) {
      std::this_thread::yield();
    } else {
      absl::SleepFor(kPollEvery);
    }
  }
}

void NcclCommunicator::Watch() {
  static_cast<void>(cudaSetDevice(options_.device));
  absl::Status found;
  {
    MutexLock lock(&mutex_);
    while (!ending_) {
      found = status_;
      if (found.ok() && queued_) found = Look();
      if (!found.ok()) break;
      if (queued_) {
        changed_.WaitUntil(&mutex_, std::min(deadline_, RealClock()->Now() + kLookEvery));
      } else {
        changed_.Wait(&mutex_);
      }
    }
  }
  if (!found.ok()) static_cast<void>(Fail(std::move(found)));
}

absl::Status NcclCommunicator::Look() {
  if (cudaEventQuery(last_.get()) != cudaErrorNotReady) {
    queued_ = false;
    return absl::OkStatus();
  }
  ncclResult_t state = ncclSuccess;
  const ncclResult_t asked = api_.CommGetAsyncError(comm_, &state);
  if (asked != ncclSuccess) return ToError(asked);
  if (state != ncclSuccess && state != ncclInProgress) return ToError(state);
  return RealClock()->Now() >= deadline_ ? Late() : absl::OkStatus();
}

absl::Status NcclCommunicator::Reduce(uint32_t* words, size_t count, CombineOp op) {
  const size_t bytes = count * sizeof(uint32_t);
  CHECK_LE(bytes, options_.max_bytes);
  if (count == 0) return status();
  return bytes < kLargeBytes ? ReduceWhole(words, static_cast<int64_t>(count), op)
                             : ReduceByParts(words, static_cast<int64_t>(count), op);
}

absl::Status NcclCommunicator::ReduceWhole(uint32_t* words, int64_t count, CombineOp op) {
  auto* const all = received_.data<uint32_t>();
  RETURN_IF_ERROR(Queue([&](ncclComm_t comm) {
    return api_.AllGather(words, all, count * sizeof(uint32_t), ncclUint8, comm, options_.stream);
  }));
  return Combine({.sources = all, .stride = count, .count = count, .out = words, .op = op});
}

absl::Status NcclCommunicator::ReduceByParts(uint32_t* words, int64_t count, CombineOp op) {
  const int64_t unit = kPartWords * size();
  const int64_t part = (count + unit - 1) / unit * kPartWords;
  const auto of = [&](int rank) -> Part {
    const int64_t begin = std::min(rank * part, count);
    return {begin, std::min(part, count - begin)};
  };
  const Part mine = of(rank());
  auto* const received = received_.data<uint32_t>();
  RETURN_IF_ERROR(Queue([&](ncclComm_t comm) {
    ncclResult_t result = ncclSuccess;
    for (int p = 0; p < size() && result == ncclSuccess; ++p) {
      const Part theirs = of(p);
      result = SendBytes(words + theirs.begin, theirs.count * sizeof(uint32_t), p, comm);
      if (result != ncclSuccess) break;
      result = ReceiveBytes(received + p * part, mine.count * sizeof(uint32_t), p, comm);
    }
    return result;
  }));
  if (mine.count > 0) {
    RETURN_IF_ERROR(Combine({.sources = received,
                             .stride = part,
                             .count = mine.count,
                             .out = words + mine.begin,
                             .op = op}));
  }
  return Queue([&](ncclComm_t comm) {
    ncclResult_t result = ncclSuccess;
    for (int p = 0; p < size() && result == ncclSuccess; ++p) {
      if (p == rank()) continue;
      const Part theirs = of(p);
      result = SendBytes(words + mine.begin, mine.count * sizeof(uint32_t), p, comm);
      if (result != ncclSuccess) break;
      result = ReceiveBytes(words + theirs.begin, theirs.count * sizeof(uint32_t), p, comm);
    }
    return result;
  });
}

absl::Status NcclCommunicator::AllGather(absl::Span<const std::byte> mine,
                                         absl::Span<std::byte> all) {
  CHECK_EQ(all.size(), mine.size() * size());
  if (mine.empty()) return status();
  return Queue([&](ncclComm_t comm) {
    return api_.AllGather(mine.data(), all.data(), mine.size(), ncclUint8, comm, options_.stream);
  });
}

absl::Status NcclCommunicator::Gather(absl::Span<const std::byte> mine,
                                      absl::Span<std::byte> all,
                                      int root) {
  CHECK(rank() != root || all.size() == mine.size() * size());
  if (mine.empty()) return status();
  return Queue([&](ncclComm_t comm) {
    ncclResult_t result = SendBytes(mine.data(), mine.size(), root, comm);
    for (int p = 0; p < size() && rank() == root && result == ncclSuccess; ++p) {
      result = ReceiveBytes(all.data() + p * mine.size(), mine.size(), p, comm);
    }
    return result;
  });
}

absl::Status NcclCommunicator::Broadcast(absl::Span<std::byte> data, int root) {
  if (data.empty()) return status();
  return Queue([&](ncclComm_t comm) {
    if (rank() != root) return ReceiveBytes(data.data(), data.size(), root, comm);
    ncclResult_t result = ncclSuccess;
    for (int p = 0; p < size() && result == ncclSuccess; ++p) {
      if (p != root) result = SendBytes(data.data(), data.size(), p, comm);
    }
    return result;
  });
}

}  // namespace

absl::StatusOr<ncclUniqueId> NewNcclId() {
  ASSIGN_OR_RETURN(const NcclApi* const api, LoadNccl());
  ncclUniqueId id;
  const ncclResult_t result = api->GetUniqueId(&id);
  if (result == ncclSuccess) return id;
  return absl::UnavailableError(absl::StrCat("NCCL: ", api->GetErrorString(result)));
}

absl::StatusOr<std::unique_ptr<Communicator>> ConnectNccl(const ncclUniqueId& id,
                                                          const NcclOptions& options) {
  ASSIGN_OR_RETURN(const NcclApi* const api, LoadNccl());
  auto comm = std::make_unique<NcclCommunicator>(*api, options);
  RETURN_IF_ERROR(comm->Connect(id));
  return comm;
}

}  // namespace pagoda::cuda
