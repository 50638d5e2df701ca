#include "kernels/comm/local_mesh.h"

#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/limits.h"
#include "common/status.h"
#include "kernels/comm/futex.h"

namespace pagoda {
namespace {

// About 50 us where every rank has a CPU; where they share CPUs, spinning keeps the peer from
// getting on.
constexpr int kSpins = 2000;

class LocalMesh final : public Mesh {
 public:
  LocalMesh(int rank, std::vector<LocalSegment> segments)
      : rank_(rank),
        segments_(std::move(segments)),
        spins_(CpuLimit() >= static_cast<int>(segments_.size()) ? kSpins : 0) {}
  ~LocalMesh() override { Kill(); }

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(segments_.size()); }
  size_t capacity() const override { return LocalSegment::kSlotBytes; }

  absl::Status Exchange(absl::Span<const std::byte> mine,
                        absl::Span<const ByteRange> give,
                        absl::Span<const ByteRange> take,
                        absl::Time deadline,
                        absl::Span<const std::byte*> taken) override;

  void Abort() override {
    aborted_.store(true);
    Kill();
  }

 private:
  // Copies what is given into this exchange's slot.
  absl::Status Give(absl::Span<const std::byte> mine,
                    absl::Span<const ByteRange> give,
                    absl::Time deadline);
  // Waits until rank `p` has begun `exchange`.
  absl::Status Await(int p, uint32_t exchange, absl::Time deadline);
  absl::Status Sleep(int p, uint32_t exchange, absl::Time deadline);
  absl::Status Dead() const;
  // Ends the communicator for all ranks: none can go on without this one.
  void Kill();

  const int rank_;
  const std::vector<LocalSegment> segments_;  // by rank
  const int spins_;
  uint32_t exchange_ = 0;  // the one at hand, from 1
  std::string late_;       // which rank did not come in time; empty: none
  std::atomic<bool> aborted_{false};
};

// Numbers wrap around; what is compared is never far apart.
bool HasBegun(uint32_t begun, uint32_t exchange) {
  return static_cast<int32_t>(begun - exchange) >= 0;
}

absl::Status LocalMesh::Exchange(absl::Span<const std::byte> mine,
                                 absl::Span<const ByteRange> give,
                                 absl::Span<const ByteRange> take,
                                 absl::Time deadline,
                                 absl::Span<const std::byte*> taken) {
  ++exchange_;
  RETURN_IF_ERROR(Give(mine, give, deadline));
  const LocalSegment& own = segments_[rank_];
  own->begun.fetch_add(1, std::memory_order_seq_cst);
  if (own->dead.load(std::memory_order_seq_cst) != 0) return Dead();
  if (own->sleepers.load(std::memory_order_seq_cst) > 0) FutexWakeAll(&own->begun);
  for (int p = 0; p < size(); ++p) {
    if (p == rank_ || take[p].size == 0) continue;
    CHECK_LE(take[p].begin + take[p].size, capacity());
    RETURN_IF_ERROR(Await(p, exchange_, deadline));
    taken[p] = segments_[p]->slots[exchange_ % LocalSegment::kSlots] + take[p].begin;
  }
  return absl::OkStatus();
}

absl::Status LocalMesh::Give(absl::Span<const std::byte> mine,
                             absl::Span<const ByteRange> give,
                             absl::Time deadline) {
  size_t begin = mine.size(), end = 0;
  for (int p = 0; p < size(); ++p) {
    if (p == rank_ || give[p].size == 0) continue;
    begin = std::min(begin, give[p].begin);
    end = std::max(end, give[p].begin + give[p].size);
  }
  if (begin >= end) return absl::OkStatus();
  CHECK_LE(end, std::min(mine.size(), capacity()));
  // The slot was last read in the exchange before the last: whoever has begun the last is done.
  for (int p = 0; p < size(); ++p) {
    if (p != rank_) RETURN_IF_ERROR(Await(p, exchange_ - 1, deadline));
  }
  std::memcpy(segments_[rank_]->slots[exchange_ % LocalSegment::kSlots] + begin,
              mine.data() + begin,
              end - begin);
  return absl::OkStatus();
}

absl::Status LocalMesh::Await(int p, uint32_t exchange, absl::Time deadline) {
  const LocalSegment& peer = segments_[p];
  for (int i = 0; i <= spins_; ++i) {
    const uint32_t seen = peer->begun.load(std::memory_order_acquire);
    if (peer->dead.load(std::memory_order_relaxed) != 0) return Dead();
    if (HasBegun(seen, exchange)) return absl::OkStatus();
    _mm_pause();
  }
  return Sleep(p, exchange, deadline);
}

absl::Status LocalMesh::Sleep(int p, uint32_t exchange, absl::Time deadline) {
  const LocalSegment& peer = segments_[p];
  // Either the peer sees this sleeper, or the sleeper sees that it has begun: all are seq_cst.
  peer->sleepers.fetch_add(1, std::memory_order_seq_cst);
  while (true) {
    const uint32_t seen = peer->begun.load(std::memory_order_seq_cst);
    if (peer->dead.load(std::memory_order_seq_cst) != 0 || HasBegun(seen, exchange)) break;
    const absl::Duration left = deadline - RealClock()->Now();
    if (left <= absl::ZeroDuration()) {
      late_ = absl::StrCat("rank ", p, " did not come in time");
      Kill();
    } else {
      FutexWait(&peer->begun, seen, left);
    }
  }
  peer->sleepers.fetch_sub(1, std::memory_order_relaxed);
  return peer->dead.load(std::memory_order_relaxed) != 0 ? Dead() : absl::OkStatus();
}

absl::Status LocalMesh::Dead() const {
  if (!late_.empty()) return absl::DeadlineExceededError(late_);
  if (aborted_.load()) return absl::CancelledError("communicator aborted");
  return absl::UnavailableError("another rank gave the communicator up");
}

void LocalMesh::Kill() {
  for (const LocalSegment& segment : segments_) {
    if (segment->dead.exchange(1, std::memory_order_seq_cst) != 0) continue;
    // Another value, so that whoever is about to sleep on it does not.
    segment->begun.fetch_add(1u << 30, std::memory_order_seq_cst);
    FutexWakeAll(&segment->begun);
  }
}

}  // namespace

std::unique_ptr<Mesh> MakeLocalMesh(int rank, std::vector<LocalSegment> segments) {
  CHECK_LT(static_cast<size_t>(rank), segments.size());
  return std::make_unique<LocalMesh>(rank, std::move(segments));
}

}  // namespace pagoda
