// Random operations on a tiny pool beside a naive model: 20 runs of 5,000 operations, audited after
// every one. The "device" holds tokens of a two-word vocabulary and follows the reported changes
// alone, as a worker does, so a missing copy, a wrong entry or a block with two owners reads back
// as a wrong token. Run N alone: --gtest_filter='*/N'.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include "common/random.h"
#include "coordinator/core/kv/block_manager.h"

namespace pagoda::core {
namespace {

constexpr int kRuns = 20;
constexpr int kOperations = 5'000;
constexpr size_t kMaxSequences = 7;
constexpr uint8_t kPoison = 7;  // no token

struct Sequence {
  BlockTable table;
  std::vector<uint8_t> tokens;  // what was written, in order
  std::vector<int32_t> mirror;  // block ids, from the reported changes
};

// How often the interesting things happened; a run without them proves nothing.
struct Seen {
  int copies = 0;
  int refusals = 0;
  int last_writers = 0;  // wrote a block in place that was shared before
  int full_pools = 0;
};

class RandomRun : public testing::TestWithParam<int> {
 protected:
  ~RandomRun() override {
    for (auto& s : sequences_) manager_.Free(&s->table, StepFence{step_});
  }

  // The naive model. Needs are found by carrying the growths out on copies of the mirrors.
  std::set<int32_t> HeldIds() const {
    std::set<int32_t> ids;
    for (const auto& s : sequences_) ids.insert(s->mirror.begin(), s->mirror.end());
    return ids;
  }
  int64_t NaiveFree() const { return num_blocks_ - static_cast<int64_t>(HeldIds().size()); }
  int64_t NaiveNeed(const std::vector<size_t>& who, const std::vector<int64_t>& tokens) const {
    std::vector<std::vector<int32_t>> mirrors;
    mirrors.reserve(sequences_.size());
    for (const auto& s : sequences_) mirrors.push_back(s->mirror);
    int32_t fresh = 0;
    for (size_t i = 0; i < who.size(); ++i) {
      std::vector<int32_t>& mine = mirrors[who[i]];
      const auto written = static_cast<int64_t>(sequences_[who[i]]->tokens.size());
      const bool writes_last = tokens[i] > written && written % block_size_ != 0;
      if (writes_last && Holders(mirrors, mine.back()) > 1) mine.back() = -++fresh;
      while (static_cast<int64_t>(mine.size()) * block_size_ < tokens[i]) mine.push_back(-++fresh);
    }
    return fresh;
  }
  static int64_t Holders(const std::vector<std::vector<int32_t>>& mirrors, int32_t id) {
    return std::ranges::count_if(mirrors,
                                 [id](const auto& m) { return std::ranges::count(m, id); });
  }

  uint8_t* Slot(int32_t block, int64_t offset) { return &device_[block * block_size_ + offset]; }

  void Carry(const BlockChange& change, std::vector<int32_t>* mirror) {
    switch (change.kind) {
      case BlockChange::Kind::kCopy:
        ++seen_.copies;
        std::copy_n(Slot(change.source, 0), block_size_, Slot(change.block, 0));
        return;
      case BlockChange::Kind::kSet:
        Drop(mirror->at(change.index));
        mirror->at(change.index) = change.block;
        return;
      case BlockChange::Kind::kAppend:
        for (int32_t i = 0; i < change.count; ++i) mirror->push_back(change.block + i);
        return;
    }
  }
  void Drop(int32_t id) { dropped_at_[id] = step_; }
  void DropFrom(Sequence* s, size_t keep) {
    for (size_t i = keep; i < s->mirror.size(); ++i) Drop(s->mirror[i]);
    s->mirror.resize(keep);
  }

  void Write(Sequence* s, int64_t end) {
    const auto first = static_cast<int64_t>(s->tokens.size());
    manager_.CheckWritable(s->table, first, end);
    for (int64_t t = first; t < end; ++t) {
      s->tokens.push_back(static_cast<uint8_t>(random_.Below(2)));
      *Slot(s->mirror.at(t / block_size_), t % block_size_) = s->tokens.back();
    }
  }

  void Bind() {
    if (sequences_.size() == kMaxSequences) return;
    sequences_.push_back(std::make_unique<Sequence>());
    sequences_.back()->table = manager_.MakeTable(manager_.MaxTokens());
  }

  // Mostly a token or two, as in decoding, else a chunk.
  int64_t RandomGrowth() {
    return static_cast<int64_t>(random_.Below(random_.Bernoulli(0.7) ? 3 : 2 * block_size_ + 1));
  }

  // One sequence asks and grows alone; several ask together and then grow one by one.
  void GrowSome(size_t count) {
    std::vector<size_t> who;
    std::vector<int64_t> tokens;
    std::vector<Growth> growths;
    for (size_t i = 0; i < sequences_.size() && who.size() < count; ++i) {
      if (count == 1) i = random_.Below(sequences_.size());
      const Sequence& s = *sequences_[i];
      who.push_back(i);
      tokens.push_back(s.table.tokens() + RandomGrowth());
      growths.push_back({&s.table, tokens.back()});
    }
    const int64_t need = NaiveNeed(who, tokens);
    ASSERT_EQ(manager_.BlocksNeeded(growths), need);
    ASSERT_EQ(manager_.CanGrow(growths), need <= NaiveFree());
    if (who.size() == 1) {
      ASSERT_EQ(manager_.BlocksNeeded(*growths[0].table, tokens[0]), need);
    }
    if (need > NaiveFree()) {
      ++seen_.refusals;
      return Free(random_.Below(sequences_.size()));  // preempt
    }
    const int64_t free_after = NaiveFree() - need;
    for (size_t i = 0; i < who.size(); ++i) GrowOne(sequences_[who[i]].get(), tokens[i]);
    ASSERT_EQ(manager_.pool().num_free(), free_after);
    seen_.full_pools += free_after == 0;
  }
  void GrowOne(Sequence* s, int64_t tokens) {
    const bool was_shared = !s->mirror.empty() && s->table.tokens() % block_size_ != 0 &&
                            forked_.contains(s->mirror.back());
    std::vector<BlockChange> changes;
    manager_.Grow(&s->table, tokens, StepFence{step_}, &changes);
    for (const BlockChange& change : changes) Carry(change, &s->mirror);
    const bool copied = !changes.empty() && changes[0].kind == BlockChange::Kind::kCopy;
    seen_.last_writers += was_shared && !copied && static_cast<size_t>(tokens) > s->tokens.size();
    Write(s, tokens);
  }

  void Fork(Sequence* parent) {
    if (sequences_.size() == kMaxSequences) return;
    sequences_.push_back(std::make_unique<Sequence>());
    Sequence& child = *sequences_.back();
    child.table = manager_.Fork(&parent->table);
    child.tokens = parent->tokens;
    child.mirror = parent->mirror;
    forked_.insert(child.mirror.begin(), child.mirror.end());
  }

  void Truncate(Sequence* s) {
    const uint64_t keep = random_.Below(s->tokens.size() + 1);
    manager_.Truncate(&s->table, static_cast<int64_t>(keep), StepFence{step_});
    s->tokens.resize(keep);
    DropFrom(s, (keep + block_size_ - 1) / block_size_);
  }

  void Free(size_t i) {
    manager_.Free(&sequences_[i]->table, StepFence{step_});
    DropFrom(sequences_[i].get(), 0);
    sequences_.erase(sequences_.begin() + static_cast<ptrdiff_t>(i));
  }

  void Operate() {
    ++step_;
    const uint64_t kind = random_.Below(100);
    if (sequences_.empty() || kind < 8) return Bind();
    const size_t i = random_.Below(sequences_.size());
    if (kind < 50) return GrowSome(1);
    if (kind < 65) return GrowSome(2 + random_.Below(3));
    if (kind < 87) return Fork(sequences_[i].get());
    if (kind < 94) return Truncate(sequences_[i].get());
    Free(i);
  }

  void Audit() {
    const std::set<int32_t> held = HeldIds();
    std::vector<const BlockTable*> tables;
    for (const auto& s : sequences_) {
      tables.push_back(&s->table);
      ASSERT_EQ(s->table.blocks().size(), s->mirror.size());
      for (size_t i = 0; i < s->mirror.size(); ++i) {
        ASSERT_EQ(s->table.blocks()[i].id, s->mirror[i]);
      }
      for (size_t t = 0; t < s->tokens.size(); ++t) {
        const auto place = static_cast<int64_t>(t);
        ASSERT_EQ(*Slot(s->mirror[place / block_size_], place % block_size_), s->tokens[t])
            << "token " << t;
      }
    }
    ASSERT_EQ(manager_.pool().num_held(), static_cast<int32_t>(held.size()));
    ASSERT_FALSE(held.contains(0));
    manager_.CheckInvariants(tables);
    for (int32_t id = 1; id <= num_blocks_; ++id) {
      ASSERT_EQ(manager_.pool().ReleasedAt(id), StepFence{dropped_at_[id]});
      if (held.contains(id)) continue;
      std::fill_n(Slot(id, 0), block_size_, kPoison);
      forked_.erase(id);
    }
  }

  Random random_{static_cast<uint64_t>(GetParam())};
  const int32_t num_blocks_ = 7 + static_cast<int32_t>(random_.Below(14));
  const int64_t block_size_ = 1 + GetParam() % 8;
  BlockManager manager_{num_blocks_, static_cast<int32_t>(block_size_)};
  std::vector<std::unique_ptr<Sequence>> sequences_;
  std::vector<uint8_t> device_ = std::vector<uint8_t>((num_blocks_ + 1) * block_size_, kPoison);
  std::vector<uint64_t> dropped_at_ = std::vector<uint64_t>(num_blocks_ + 1);  // step, by block
  std::set<int32_t> forked_;  // ids that were shared since they were last free
  uint64_t step_ = 0;
  Seen seen_;
};

TEST_P(RandomRun, EveryTableAlwaysReadsItsOwnTokens) {
  for (int i = 0; i < kOperations; ++i) {
    ASSERT_NO_FATAL_FAILURE(Operate()) << "operation " << i;
    ASSERT_NO_FATAL_FAILURE(Audit()) << "operation " << i;
  }
  EXPECT_GT(seen_.refusals, 50);
  EXPECT_GT(seen_.full_pools, 20);
  // Blocks of one token are never written twice, so there is nothing to copy.
  if (block_size_ == 1) {
    EXPECT_EQ(seen_.copies, 0);
  } else {
    EXPECT_GT(seen_.copies, 50);
    EXPECT_GT(seen_.last_writers, 50);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomRun, testing::Range(0, kRuns));

}  // namespace
}  // namespace pagoda::core
