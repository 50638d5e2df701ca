#include "kernels/comm/mesh_communicator.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "common/status.h"

namespace pagoda {
namespace {

constexpr int kMaxRanks = 8;
// Borders of parts: no two ranks write to one cache line.
constexpr size_t kAlign = 64;

struct Add {
  using Word = float;
  static float Of(float a, float b) { return a + b; }
};

struct Or {
  using Word = uint32_t;
  static uint32_t Of(uint32_t a, uint32_t b) { return a | b; }
};

template <class Op, int kRanks>
typename Op::Word Tree(const typename Op::Word* const* sources, size_t i) {
  if constexpr (kRanks == 1) {
    return sources[0][i];
  } else {
    return Op::Of(Tree<Op, kRanks / 2>(sources, i), Tree<Op, kRanks / 2>(sources + kRanks / 2, i));
  }
}

// In blocks through memory of its own: `out` may be one of the sources, and a compiler that must
// think of that does not make vectors of the loop.
template <class Op, int kRanks>
void Combine(const typename Op::Word* const* sources, size_t count, typename Op::Word* out) {
  constexpr size_t kBlock = 512;
  std::array<typename Op::Word, kBlock> block;
  std::array<const typename Op::Word*, kRanks> from;
  for (size_t done = 0; done < count; done += kBlock) {
    const size_t n = std::min(kBlock, count - done);
    for (int p = 0; p < kRanks; ++p) from[p] = sources[p] + done;
    for (size_t i = 0; i < n; ++i) block[i] = Tree<Op, kRanks>(from.data(), i);
    std::copy_n(block.begin(), n, out + done);
  }
}

template <class Op>
void Combine(int ranks,
             const typename Op::Word* const* sources,
             size_t count,
             typename Op::Word* out) {
  if (ranks == 2) return Combine<Op, 2>(sources, count, out);
  if (ranks == 4) return Combine<Op, 4>(sources, count, out);
  Combine<Op, 8>(sources, count, out);
}

class MeshCommunicator final : public Communicator {
 public:
  MeshCommunicator(std::unique_ptr<Mesh> mesh, size_t large)
      : mesh_(std::move(mesh)), large_(large), rank_(mesh_->rank()), size_(mesh_->size()) {
    CHECK(size_ == 2 || size_ == 4 || size_ == 8) << size_ << " ranks";
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void SetDeadline(absl::Time deadline) override { deadline_ = deadline; }

  absl::Status AllReduce(absl::Span<float> data) override { return Reduce<Add>(data); }
  absl::Status AllMerge(absl::Span<uint32_t> words) override { return Reduce<Or>(words); }

  absl::Status AllGather(absl::Span<const std::byte> mine, absl::Span<std::byte> all) override {
    CHECK_EQ(all.size(), mine.size() * size_);
    return Collect(mine, all, [](int) { return true; });
  }

  absl::Status Gather(absl::Span<const std::byte> mine,
                      absl::Span<std::byte> all,
                      int root) override {
    CHECK(rank_ != root || all.size() == mine.size() * size_);
    return Collect(mine, all, [root](int rank) { return rank == root; });
  }

  absl::Status Broadcast(absl::Span<std::byte> data, int root) override;

  void Abort() override { mesh_->Abort(); }

 private:
  using Ranges = std::array<ByteRange, kMaxRanks>;

  template <class Op>
  absl::Status Reduce(absl::Span<typename Op::Word> data);
  template <class Op>
  absl::Status ReduceWhole(absl::Span<typename Op::Word> data);
  template <class Op>
  absl::Status ReduceByParts(absl::Span<typename Op::Word> data);
  // Every rank for which takes(rank) gets everybody's `mine`.
  template <class Takes>
  absl::Status Collect(absl::Span<const std::byte> mine, absl::Span<std::byte> all, Takes takes);

  absl::Status Exchange(absl::Span<const std::byte> mine, const Ranges& give, const Ranges& take) {
    return mesh_->Exchange(mine,
                           absl::MakeConstSpan(give).first(size_),
                           absl::MakeConstSpan(take).first(size_),
                           deadline_,
                           absl::MakeSpan(taken_).first(size_));
  }

  const std::unique_ptr<Mesh> mesh_;
  const size_t large_;
  const int rank_;
  const int size_;
  absl::Time deadline_ = absl::InfiniteFuture();
  std::array<const std::byte*, kMaxRanks> taken_ = {};  // by the last exchange
};

template <class Word>
absl::Span<const std::byte> AsBytes(absl::Span<Word> words) {
  return {reinterpret_cast<const std::byte*>(words.data()), words.size() * sizeof(Word)};
}

template <class Op>
absl::Status MeshCommunicator::Reduce(absl::Span<typename Op::Word> data) {
  const size_t most = mesh_->capacity() / sizeof(typename Op::Word);
  for (size_t done = 0; done < data.size(); done += most) {
    const auto piece = data.subspan(done, most);
    RETURN_IF_ERROR(AsBytes(piece).size() < large_ ? ReduceWhole<Op>(piece)
                                                   : ReduceByParts<Op>(piece));
  }
  return absl::OkStatus();
}

template <class Op>
absl::Status MeshCommunicator::ReduceWhole(absl::Span<typename Op::Word> data) {
  using Word = typename Op::Word;
  Ranges whole;
  whole.fill({0, AsBytes(data).size()});
  RETURN_IF_ERROR(Exchange(AsBytes(data), whole, whole));
  std::array<const Word*, kMaxRanks> sources;
  for (int p = 0; p < size_; ++p) {
    sources[p] = p == rank_ ? data.data() : reinterpret_cast<const Word*>(taken_[p]);
  }
  Combine<Op>(size_, sources.data(), data.size(), data.data());
  return absl::OkStatus();
}

template <class Op>
absl::Status MeshCommunicator::ReduceByParts(absl::Span<typename Op::Word> data) {
  using Word = typename Op::Word;
  const size_t bytes = AsBytes(data).size();
  const size_t share = (bytes + size_ * kAlign - 1) / (size_ * kAlign) * kAlign;
  Ranges parts;
  for (int p = 0; p < size_; ++p) {
    const size_t begin = std::min(p * share, bytes);
    parts[p] = {begin, std::min(share, bytes - begin)};
  }
  Ranges mine;
  mine.fill(parts[rank_]);
  RETURN_IF_ERROR(Exchange(AsBytes(data), parts, mine));
  Word* const part = data.data() + mine[0].begin / sizeof(Word);
  std::array<const Word*, kMaxRanks> sources;
  for (int p = 0; p < size_; ++p) {
    sources[p] = p == rank_ ? part : reinterpret_cast<const Word*>(taken_[p]);
  }
  Combine<Op>(size_, sources.data(), mine[0].size / sizeof(Word), part);

  RETURN_IF_ERROR(Exchange(AsBytes(data), mine, parts));
  for (int p = 0; p < size_; ++p) {
    if (p == rank_ || parts[p].size == 0) continue;
    std::memcpy(data.data() + parts[p].begin / sizeof(Word), taken_[p], parts[p].size);
  }
  return absl::OkStatus();
}

template <class Takes>
absl::Status MeshCommunicator::Collect(absl::Span<const std::byte> mine,
                                       absl::Span<std::byte> all,
                                       Takes takes) {
  for (size_t done = 0; done < mine.size(); done += mesh_->capacity()) {
    const auto piece = mine.subspan(done, mesh_->capacity());
    Ranges give = {}, take = {};
    for (int p = 0; p < size_; ++p) {
      if (takes(p)) give[p] = {0, piece.size()};
      if (takes(rank_)) take[p] = {0, piece.size()};
    }
    RETURN_IF_ERROR(Exchange(piece, give, take));
    if (!takes(rank_)) continue;
    for (int p = 0; p < size_; ++p) {
      std::memcpy(all.data() + p * mine.size() + done,
                  p == rank_ ? piece.data() : taken_[p],
                  piece.size());
    }
  }
  return absl::OkStatus();
}

absl::Status MeshCommunicator::Broadcast(absl::Span<std::byte> data, int root) {
  for (size_t done = 0; done < data.size(); done += mesh_->capacity()) {
    const auto piece = data.subspan(done, mesh_->capacity());
    Ranges give = {}, take = {};
    if (rank_ == root) {
      give.fill({0, piece.size()});
    } else {
      take[root] = {0, piece.size()};
    }
    RETURN_IF_ERROR(Exchange(piece, give, take));
    if (rank_ != root) std::memcpy(piece.data(), taken_[root], piece.size());
  }
  return absl::OkStatus();
}

}  // namespace

std::unique_ptr<Communicator> MakeMeshCommunicator(std::unique_ptr<Mesh> mesh, size_t large) {
  return std::make_unique<MeshCommunicator>(std::move(mesh), large);
}

}  // namespace pagoda
