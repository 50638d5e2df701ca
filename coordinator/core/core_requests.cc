// Requests: submit, accept, end; the order of journal records.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "coordinator/core/core_impl.h"
#include "coordinator/core/scheduler/router.h"

namespace pagoda::core {

Sequence* Core::Impl::Find(RequestId id) const {
  const auto it = sequences_.find(id);
  return it == sequences_.end() ? nullptr : it->second.get();
}

bool Core::Impl::Lives(const Sequence* sequence) const {
  return sequence != nullptr && sequence->state != Sequence::State::kEnding;
}

absl::Status Core::Impl::Refusal(const RequestSpec& spec) const {
  if (draining_) return absl::UnavailableError("the server is draining: no new requests");
  if (groups_.empty()) return absl::UnavailableError("no worker has joined yet: try again");
  const CoreStats now = stats();
  if (now.waiting >= options_.max_queued_requests) {
    return absl::ResourceExhaustedError(absl::StrCat(now.waiting,
                                                     " requests are waiting, the limit is ",
                                                     options_.max_queued_requests,
                                                     ": try again in 1 s"));
  }
  const uint64_t tokens = spec.prompt.size() + uint64_t{spec.max_tokens};
  uint32_t longest = 0;
  uint64_t largest_pool = 0;
  for (const auto& [id, group] : groups_) {
    longest = std::max(longest, group.capacity.max_model_len);
    largest_pool =
        std::max(largest_pool, uint64_t{group.capacity.num_blocks} * group.capacity.block_size);
  }
  const std::string got =
      absl::StrCat("prompt (", spec.prompt.size(), " tokens) + max_tokens (", spec.max_tokens, ")");
  if (tokens > longest) {
    return absl::InvalidArgumentError(
        absl::StrCat(got, " = ", tokens, " exceeds the context of ", longest, " tokens"));
  }
  if (tokens - 1 > largest_pool) {
    return absl::InvalidArgumentError(absl::StrCat(got,
                                                   " = ",
                                                   tokens,
                                                   " can never fit the KV pool of ",
                                                   largest_pool,
                                                   " tokens"));
  }
  return absl::OkStatus();
}

void Core::Impl::On(Submit& event) {
  RequestSpec& spec = event.spec;
  const RequestId id = spec.id;
  CHECK(!sequences_.contains(id)) << " request " << id << " was submitted twice";
  CHECK(!spec.prompt.empty() && spec.max_tokens >= 1 && spec.log != nullptr);
  absl::Status refusal = Refusal(spec);
  if (!refusal.ok()) {
    actions_->push_back(End{.id = id, .status = std::move(refusal)});
    return;
  }
  auto sequence = std::make_unique<Sequence>(std::move(spec), ++arrivals_);
  if (sequence->spec.deadline != absl::InfiniteFuture()) {
    deadlines_.emplace(sequence->spec.deadline, id);
  }
  sequences_.emplace(id, std::move(sequence));
  ++accepting_;
  Write(Record::kAccept, id);
}

void Core::Impl::Accepted(Sequence* sequence) {
  std::vector<GroupLoad> loads;
  uint32_t most_blocks = 0;
  for (const auto& [id, group] : groups_) {
    most_blocks = std::max(most_blocks, group.capacity.num_blocks);
    // A pool may have shrunk since the request was submitted.
    if (!group.scheduler.Fits(sequence->max_kv_tokens)) continue;
    loads.push_back({.group = id,
                     .open = group.epoch.state() == GroupEpoch::State::kOpen,
                     .sequences = group.scheduler.waiting() + group.scheduler.running()});
  }
  actions_->push_back(Emit{.id = sequence->spec.id, .published = 0});
  if (loads.empty()) {
    Finish(sequence, PoolTooSmall(most_blocks), FinishReason::kNone);
    return;
  }
  --accepting_;
  sequence->group = Route(loads);
  groups_.at(sequence->group).scheduler.Enqueue(sequence);
}

absl::Status Core::Impl::PoolTooSmall(uint32_t blocks) {
  return absl::InternalError(absl::StrCat("the group came back with a KV pool of ",
                                          blocks,
                                          " blocks, too small for this request"));
}

void Core::Impl::EndByClient(RequestId id) {
  Sequence* sequence = Find(id);
  if (Lives(sequence)) Finish(sequence, absl::OkStatus(), FinishReason::kCancelled);
}

void Core::Impl::On(StopAt& event) {
  Sequence* sequence = Find(event.id);
  if (!Lives(sequence) || event.tokens > sequence->generated()) return;
  Finish(sequence, absl::OkStatus(), FinishReason::kStop);
  sequence->completion_tokens = event.tokens;
}

void Core::Impl::Finish(Sequence* sequence, absl::Status status, FinishReason reason) {
  if (sequence->state == Sequence::State::kAccepting) {
    --accepting_;
  } else {
    groups_.at(sequence->group).scheduler.Remove(sequence);
  }
  sequence->state = Sequence::State::kEnding;
  sequence->status = std::move(status);
  sequence->finish = reason;
  sequence->completion_tokens = sequence->generated();
  deadlines_.erase({sequence->spec.deadline, sequence->spec.id});
  Write(Record::kEnd, sequence->spec.id);
}

// The journal's order: accept durable -> acknowledged -> scheduled; end durable -> last message.

void Core::Impl::Write(Record kind, RequestId id) {
  undurable_.emplace_back(kind, id);
  actions_->push_back(Append{.position = ++journal_end_, .kind = kind, .id = id});
}

void Core::Impl::On(JournalDurable& event) {
  CHECK_LE(event.position, journal_end_);
  while (journal_end_ - undurable_.size() < event.position) {
    const auto [kind, id] = undurable_.front();
    undurable_.pop_front();
    Sequence* sequence = Find(id);
    if (kind == Record::kAccept) {
      if (Lives(sequence)) Accepted(sequence);
      continue;
    }
    actions_->push_back(End{.id = id,
                            .status = std::move(sequence->status),
                            .finish = sequence->finish,
                            .completion_tokens = sequence->completion_tokens});
    sequences_.erase(id);
    ++finished_;
  }
}

}  // namespace pagoda::core
