#include "coordinator/engine/request_output.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace pagoda {

RequestOutput::RequestOutput(Options options,
                             const Tokenizer& tokenizer,
                             std::function<void()> wake)
    : id_(options.id),
      log_(std::move(options.log)),
      stop_token_ids_(std::move(options.stop_token_ids)),
      wake_(std::move(wake)),
      cursor_(log_.get()),
      text_(tokenizer, options.skip_special_tokens, std::move(options.stop)) {}

std::optional<uint32_t> RequestOutput::Advance(uint32_t published) {
  if (published == 0) {
    {
      MutexLock lock(&mutex_);
      news_.accepted = true;
    }
    Wake();
    return std::nullopt;
  }
  std::vector<int32_t> words;
  while (cursor_.position() < published) {
    core::TokenLogprobs logprobs;
    const int32_t token = cursor_.Next(&logprobs);
    if (stopped_after_ > 0) continue;
    held_tokens_.push_back(token);
    if (log_->with_logprobs()) held_logprobs_.push_back(std::move(logprobs));
    if (!std::binary_search(stop_token_ids_.begin(), stop_token_ids_.end(), token)) {
      words.push_back(token);
    }
  }
  if (stopped_after_ > 0 || !broken_.ok()) return std::nullopt;
  absl::StatusOr<TextDelta> delta = text_.Append(text_.next_token(), words);
  if (!delta.ok()) {
    broken_ = delta.status();
    return std::nullopt;
  }
  Show(*delta);
  if (!delta->stopped) return std::nullopt;
  stopped_after_ = static_cast<uint32_t>(delta->num_tokens);
  return stopped_after_;
}

void RequestOutput::Show(const TextDelta& delta) {
  bool news = !delta.text.empty();
  {
    MutexLock lock(&mutex_);
    const size_t shown = news_.token_offset + news_.tokens.size();
    CHECK_GE(static_cast<size_t>(delta.num_tokens), shown);
    const size_t count = std::min(delta.num_tokens - shown, held_tokens_.size());
    news |= count > 0;
    news_.text += delta.text;
    news_.tokens.insert(news_.tokens.end(), held_tokens_.begin(), held_tokens_.begin() + count);
    held_tokens_.erase(held_tokens_.begin(), held_tokens_.begin() + count);
    if (log_->with_logprobs()) {
      std::move(held_logprobs_.begin(),
                held_logprobs_.begin() + count,
                std::back_inserter(news_.logprobs));
      held_logprobs_.erase(held_logprobs_.begin(), held_logprobs_.begin() + count);
    }
  }
  if (news) Wake();
}

void RequestOutput::End(const core::End& end) {
  if (end.status.ok() && end.completion_tokens > 0) Advance(end.completion_tokens);
  absl::Status status = end.status.ok() ? broken_ : end.status;
  if (status.ok() && stopped_after_ == 0) {
    absl::StatusOr<TextDelta> delta = text_.Finish();
    status = delta.status();
    if (delta.ok()) {
      if (delta->stopped) stopped_after_ = static_cast<uint32_t>(delta->num_tokens);
      // Everything read counts now, the stop token too.
      if (!delta->stopped) delta->num_tokens = end.completion_tokens;
      Show(*delta);
    }
  }
  {
    MutexLock lock(&mutex_);
    news_.finished = true;
    news_.status = std::move(status);
    // A stop string decides even when the core found another end at the same time: it came earlier
    // in the text.
    const bool stopped = stopped_after_ > 0;
    news_.finish = stopped ? core::FinishReason::kStop : end.finish;
    news_.completion_tokens = stopped ? stopped_after_ : end.completion_tokens;
  }
  Wake();
}

void RequestOutput::Wake() {
  {
    MutexLock lock(&mutex_);
    if (has_news_) return;
    has_news_ = true;
  }
  wake_();
}

bool RequestOutput::Take(OutputUpdate* update) {
  MutexLock lock(&mutex_);
  if (!has_news_) return false;
  has_news_ = false;
  OutputUpdate rest;
  rest.token_offset = news_.token_offset + static_cast<uint32_t>(news_.tokens.size());
  rest.text_offset = news_.text_offset + news_.text.size();
  *update = std::exchange(news_, std::move(rest));
  return true;
}

}  // namespace pagoda
