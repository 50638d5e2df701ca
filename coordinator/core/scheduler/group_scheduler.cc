#include "coordinator/core/scheduler/group_scheduler.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "common/check.h"
#include "common/hash.h"

namespace pagoda::core {
namespace {

// A step of a thousand sequences is time spent waiting for memory: what both passes over them touch
// is asked for so many sequences ahead, which saves an eighth (bench/scheduler). Inlined always: to
// GCC 12 a function that only prefetches does nothing, and it drops the call.
constexpr size_t kAhead = 8;
constexpr size_t kCacheLine = 64;

[[gnu::always_inline]] inline void Prefetch(const void* object, size_t bytes) {
  for (size_t at = 0; at < bytes; at += kCacheLine) {
    __builtin_prefetch(static_cast<const char*>(object) + at);
  }
}

// A row's sequence, then, when that is there, what its answer goes through.
[[gnu::always_inline]] inline void PrefetchAnswered(const std::vector<GroupScheduler::Row>& rows,
                                                    size_t lane) {
  const auto sequence = [&](size_t ahead) -> const Sequence* {
    return lane + ahead < rows.size() ? rows[lane + ahead].sequence : nullptr;
  };
  if (const Sequence* far = sequence(kAhead)) Prefetch(far, sizeof(Sequence));
  if (const Sequence* near = sequence(kAhead / 2)) {
    Prefetch(near->spec.log.get(), kCacheLine);
    Prefetch(near->spec.stop_token_ids.data(), kCacheLine);
  }
}

}  // namespace

GroupScheduler::GroupScheduler(const GroupCapacity& capacity,
                               uint32_t depth,
                               const Policies& policies)
    : policies_(policies), waiting_(Earlier{policies.order}), storage_(depth) {
  CHECK_GE(depth, 1u);
  Reset(capacity);
}

GroupScheduler::~GroupScheduler() {
  for (Sequence* sequence : running_) FreeBlocks(sequence);
}

uint32_t GroupScheduler::max_running() const {
  return std::min(capacity_.max_lanes, capacity_.max_step_tokens);
}

void GroupScheduler::Reset(const GroupCapacity& capacity) {
  for (SentPlan* sent : unanswered_) {
    for (Row& row : sent->rows) {
      if (row.sequence != nullptr) row.sequence->promised = row.sequence->unanswered = 0;
    }
  }
  unanswered_.clear();
  while (!running_.empty()) {
    Sequence* sequence = running_.back();
    Unseat(sequence);
    sequence->state = Sequence::State::kWaiting;
    waiting_.insert(sequence);
  }
  capacity_ = capacity;
  blocks_ = std::make_unique<BlockManager>(static_cast<int32_t>(capacity.num_blocks),
                                           static_cast<int32_t>(capacity.block_size));
  unbind_.clear();
  next_step_ = 1;
  on_lane_.assign(max_running(), nullptr);
  free_lanes_ = FreeLanes();
  for (uint32_t lane = 0; lane < max_running(); ++lane)
    free_lanes_.push(static_cast<int32_t>(lane));
  for (SentPlan& sent : storage_) sent.rows.assign(max_running(), Row{});
  running_.reserve(max_running());
  digest_words_.reserve(
      2 + blocks_->BlocksFor(std::min<int64_t>(capacity.max_model_len, blocks_->MaxTokens())));
}

void GroupScheduler::Enqueue(Sequence* sequence) {
  sequence->state = Sequence::State::kWaiting;
  CHECK(waiting_.insert(sequence).second);
}

void GroupScheduler::Remove(Sequence* sequence) {
  if (sequence->unanswered > 0) {
    for (SentPlan* sent : unanswered_) {
      Row& row = sent->rows[sequence->lane];
      if (row.sequence == sequence) row.sequence = nullptr;
    }
    sequence->promised = sequence->unanswered = 0;
  }
  if (sequence->state == Sequence::State::kRunning) {
    unbind_.push_back(sequence->lane);
    Unseat(sequence);
  } else {
    CHECK_EQ(waiting_.erase(sequence), 1u);
  }
}

void GroupScheduler::FreeBlocks(Sequence* sequence) {
  // The next plan may give these blocks out again: it runs after every plan that was sent.
  blocks_->Free(&sequence->table, LastSent());
  sequence->planned = sequence->done = 0;
}

void GroupScheduler::Unseat(Sequence* sequence) {
  FreeBlocks(sequence);
  on_lane_[sequence->lane] = nullptr;
  running_.erase(std::find(running_.begin(), running_.end(), sequence));
}

GroupScheduler::SentPlan* GroupScheduler::StartPlan(Epoch epoch, bool digest) {
  SentPlan* sent = &storage_[next_step_ % storage_.size()];
  sent->plan.Clear();
  sent->plan.epoch = epoch;
  sent->plan.step = Step(next_step_);
  sent->plan.snapshot = next_step_ == 1;
  sent->plan.digest = digest;
  std::fill(sent->rows.begin(), sent->rows.end(), Row{});
  sent->tokens = sent->draws = 0;
  sent->digest = 0;
  return sent;
}

const GroupScheduler::SentPlan* GroupScheduler::Schedule(Epoch epoch, bool digest) {
  CHECK(CanPlan());
  SentPlan* sent = StartPlan(epoch, digest);
  Reclaim(sent);
  const bool preempted = ContinueRunning(sent);
  if (!preempted) Admit(sent);
  if (sent->plan.ops.empty() && sent->tokens == 0) return nullptr;
  std::sort(sent->plan.rows.begin(),
            sent->plan.rows.end(),
            [](const RowException& a, const RowException& b) { return a.lane < b.lane; });
  if (digest) sent->digest = TableDigest();
  ++next_step_;
  unanswered_.push_back(sent);
  return sent;
}

void GroupScheduler::Reclaim(SentPlan* sent) {
  for (int32_t lane : unbind_) {
    sent->plan.ops.push_back({.kind = OpKind::kUnbind, .lane = lane});
    free_lanes_.push(lane);
  }
  unbind_.clear();
}

bool GroupScheduler::ContinueRunning(SentPlan* sent) {
  const uint64_t preemptions = counts_.preemptions;
  size_t i = 0;
  while (i < running_.size()) {
    Sequence* sequence = running_[i];
    if (i + kAhead < running_.size()) {
      Prefetch(running_[i + kAhead], 2 * kCacheLine);  // up to its table
    }
    // Every later sequence keeps at least one token of the budget, so a long prefill stops nobody's
    // decode.
    const uint32_t later = static_cast<uint32_t>(running_.size() - i - 1);
    const uint32_t budget = capacity_.max_step_tokens - sent->tokens - later;
    const uint32_t tokens = std::min(sequence->runnable(), budget);
    if (!BlockManager::GrowInPlace(&sequence->table, sequence->planned + tokens) &&
        !GrowOrPreempt(i, tokens, sent)) {
      continue;  // it gave way itself; the next one has its place now
    }
    AddRow(sequence, tokens, sent);
    ++i;
  }
  return counts_.preemptions != preemptions;
}

bool GroupScheduler::GrowOrPreempt(size_t index, uint32_t tokens, SentPlan* sent) {
  Sequence* sequence = running_[index];
  while (!blocks_->CanGrow(sequence->table, sequence->planned + tokens)) {
    const absl::Span<Sequence* const> candidates(&running_[index], running_.size() - index);
    const size_t victim = policies_.victim->Choose(candidates);
    CHECK_LT(victim, candidates.size());
    Preempt(index + victim, sent);
    if (victim == 0) return false;
  }
  Grow(sequence, tokens, sent);
  return true;
}

void GroupScheduler::Preempt(size_t index, SentPlan* sent) {
  Sequence* sequence = running_[index];
  const int32_t lane = sequence->lane;
  Unseat(sequence);
  sent->plan.ops.push_back({.kind = OpKind::kUnbind, .lane = lane});
  free_lanes_.push(lane);
  sequence->state = Sequence::State::kWaiting;
  waiting_.insert(sequence);
  ++counts_.preemptions;
}

void GroupScheduler::Admit(SentPlan* sent) {
  while (!waiting_.empty() && running_.size() < max_running() && !free_lanes_.empty() &&
         sent->tokens < capacity_.max_step_tokens) {
    Sequence* sequence = *waiting_.begin();
    // Tokens that are still being drawn belong to its history: it comes back when they are known.
    if (sequence->unanswered > 0) return;
    const Admission::View view = {.blocks_needed = static_cast<uint32_t>(blocks_->BlocksFor(
                                      std::min(sequence->known + 1, sequence->max_kv_tokens))),
                                  .free_blocks = static_cast<uint32_t>(pool().num_free()),
                                  .running = running()};
    if (!policies_.admission->Admit(view)) return;
    const uint32_t tokens =
        std::min(sequence->runnable(), capacity_.max_step_tokens - sent->tokens);
    if (!blocks_->CanGrow(sequence->table, tokens)) return;
    waiting_.erase(waiting_.begin());
    Bind(sequence, sent);
    Grow(sequence, tokens, sent);
    AddRow(sequence, tokens, sent);
  }
}

void GroupScheduler::Bind(Sequence* sequence, SentPlan* sent) {
  sequence->state = Sequence::State::kRunning;
  sequence->lane = free_lanes_.top();
  free_lanes_.pop();
  ++sequence->binding;
  sequence->table = blocks_->MakeTable(sequence->max_kv_tokens);
  on_lane_[sequence->lane] = sequence;
  const auto place =
      std::upper_bound(running_.begin(), running_.end(), sequence, Earlier{policies_.order});
  running_.insert(place, sequence);

  StepPlan& plan = sent->plan;
  const uint32_t begin = static_cast<uint32_t>(plan.tokens.size());
  const RequestSpec& spec = sequence->spec;
  plan.tokens.insert(plan.tokens.end(), spec.prompt.begin(), spec.prompt.end());
  spec.log->CopyTo(&plan.tokens);
  plan.ops.push_back({.kind = OpKind::kBind,
                      .lane = sequence->lane,
                      .bind = static_cast<uint32_t>(plan.binds.size())});
  plan.binds.push_back({.tokens_begin = begin,
                        .tokens_count = static_cast<uint32_t>(plan.tokens.size()) - begin,
                        .prompt_tokens = sequence->prompt_tokens(),
                        .sampling = spec.sampling});
}

void GroupScheduler::Grow(Sequence* sequence, uint32_t tokens, SentPlan* sent) {
  changes_.clear();
  blocks_->Grow(&sequence->table, sequence->planned + tokens, StepFence(next_step_), &changes_);
  for (const BlockChange& change : changes_) {
    const uint32_t block = static_cast<uint32_t>(change.block);
    const int32_t lane = sequence->lane;
    switch (change.kind) {
      case BlockChange::Kind::kAppend:
        sent->plan.ops.push_back({.kind = OpKind::kAppend,
                                  .lane = lane,
                                  .a = block,
                                  .b = static_cast<uint32_t>(change.count)});
        break;
      case BlockChange::Kind::kSet:
        sent->plan.ops.push_back({.kind = OpKind::kSet,
                                  .lane = lane,
                                  .a = static_cast<uint32_t>(change.index),
                                  .b = block});
        break;
      case BlockChange::Kind::kCopy:
        sent->plan.ops.push_back(
            {.kind = OpKind::kCopy, .a = static_cast<uint32_t>(change.source), .b = block});
        break;
    }
  }
}

void GroupScheduler::AddRow(Sequence* sequence, uint32_t tokens, SentPlan* sent) {
  if (tokens != 1) sent->plan.rows.push_back({.lane = sequence->lane, .tokens = tokens});
  if (tokens == 0) return;
  sequence->planned += tokens;
  const bool draws = sequence->planned == sequence->known + sequence->promised;
  sent->rows[sequence->lane] = {sequence, tokens, sequence->binding, draws};
  sent->tokens += tokens;
  sent->draws += draws;
  sequence->promised += draws;
  ++sequence->unanswered;
}

void GroupScheduler::Answer(absl::FunctionRef<void(Sequence*, size_t)> drawn) {
  CHECK(!unanswered_.empty());
  SentPlan* sent = unanswered_.front();
  unanswered_.erase(unanswered_.begin());
  size_t index = 0;
  for (size_t lane = 0; lane < sent->rows.size(); ++lane) {
    PrefetchAnswered(sent->rows, lane);
    const Row& row = sent->rows[lane];
    if (row.tokens == 0) continue;
    const size_t token = index;
    index += row.draws;
    Sequence* sequence = row.sequence;
    if (sequence == nullptr) continue;
    if (sequence->binding == row.binding && sequence->state == Sequence::State::kRunning) {
      sequence->done += row.tokens;
    }
    --sequence->unanswered;
    sequence->promised -= row.draws;
    if (row.draws) drawn(sequence, token);
  }
  ++counts_.steps;
  counts_.processed_tokens += sent->tokens;
}

std::vector<Sequence*> GroupScheduler::Misfits() const {
  std::vector<Sequence*> misfits;
  for (Sequence* sequence : waiting_) {
    if (!Fits(sequence->max_kv_tokens)) misfits.push_back(sequence);
  }
  return misfits;
}

uint64_t GroupScheduler::TableDigest() {
  // The words are hashed as they lie in memory; the digest is of little-endian ones.
  static_assert(std::endian::native == std::endian::little);
  RunningHash hash;
  for (size_t lane = 0; lane < on_lane_.size(); ++lane) {
    if (on_lane_[lane] == nullptr) continue;
    const auto blocks = on_lane_[lane]->table.blocks();
    digest_words_.assign({static_cast<uint32_t>(lane), static_cast<uint32_t>(blocks.size())});
    for (const BlockRef& block : blocks) digest_words_.push_back(static_cast<uint32_t>(block.id));
    hash.Add({reinterpret_cast<const char*>(digest_words_.data()),
              digest_words_.size() * sizeof(uint32_t)});
  }
  return hash.value();
}

void GroupScheduler::CheckInvariants() const {
  CHECK_LE(running_.size(), max_running());
  CHECK(std::is_sorted(running_.begin(), running_.end(), Earlier{policies_.order}));
  std::vector<const BlockTable*> tables;
  for (const Sequence* sequence : running_) {
    CHECK(sequence->state == Sequence::State::kRunning);
    CHECK_EQ(on_lane_[sequence->lane], sequence);
    CHECK_LE(sequence->done, sequence->planned);
    CHECK_LE(sequence->planned, sequence->known + sequence->promised);
    CHECK_EQ(sequence->table.tokens(), int64_t{sequence->planned});
    tables.push_back(&sequence->table);
  }
  for (const Sequence* sequence : waiting_) {
    CHECK(sequence->state == Sequence::State::kWaiting);
    CHECK(sequence->table.empty());
    CHECK_EQ(sequence->planned, 0u);
  }
  const size_t seated = on_lane_.size() - std::count(on_lane_.begin(), on_lane_.end(), nullptr);
  CHECK_EQ(seated, running_.size());
  CHECK_EQ(seated + free_lanes_.size() + unbind_.size(), on_lane_.size());
  blocks_->CheckInvariants(tables);
  CheckRows();
}

void GroupScheduler::CheckRows() const {
  const auto check = [this](const Sequence* sequence) {
    uint32_t rows = 0;
    uint32_t draws = 0;
    for (const SentPlan* sent : unanswered_) {
      for (const Row& row : sent->rows) {
        if (row.sequence != sequence) continue;
        ++rows;
        draws += row.draws;
      }
    }
    CHECK_EQ(sequence->unanswered, rows);
    CHECK_EQ(sequence->promised, draws);
  };
  for (const Sequence* sequence : running_) check(sequence);
  for (const Sequence* sequence : waiting_) check(sequence);
}

}  // namespace pagoda::core
