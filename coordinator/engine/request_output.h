// What one request has produced and its client has not taken yet.
//
// Two cursors on the same token log: the text thread's, which turns published tokens into text and
// stop decisions, and the client's, which takes what is new when it can. A slow client costs memory
// for its own output only and nobody's time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/mutex.h"
#include "coordinator/core/action.h"
#include "coordinator/core/request/token_log.h"
#include "coordinator/text/output_text.h"
#include "coordinator/text/tokenizer.h"

namespace pagoda {

// News of a request, in order; what came together is merged.
struct OutputUpdate {
  bool accepted = false;      // the request is durable; in the first update only
  uint32_t token_offset = 0;  // tokens before this update
  std::vector<int32_t> tokens;
  std::vector<core::TokenLogprobs> logprobs;  // empty, or one per token
  uint64_t text_offset = 0;                   // bytes of text before this update
  std::string text;
  bool finished = false;  // the last update
  absl::Status status;    // with `finished`
  core::FinishReason finish = core::FinishReason::kNone;
  uint32_t completion_tokens = 0;
};

class RequestOutput {
 public:
  struct Options {
    core::RequestId id;
    std::shared_ptr<core::TokenLog>
        log;  // shared with the core: each side may be the last one to need it
    std::vector<std::string> stop;        // valid stop strings
    std::vector<int32_t> stop_token_ids;  // sorted; counted, never text
    bool skip_special_tokens = true;
  };

  // `wake` is called, from a text thread, when Take has something new to give after it had nothing.
  RequestOutput(Options options, const Tokenizer& tokenizer, std::function<void()> wake);

  core::RequestId id() const { return id_; }

  // Text thread. The first `published` tokens may be shown. Answers after how many tokens a stop
  // string ended the request, when these tokens completed one.
  std::optional<uint32_t> Advance(uint32_t published);
  // Text thread, last call.
  void End(const core::End& end);

  // Client. False when there is nothing new. After an update with `finished` there is nothing more.
  bool Take(OutputUpdate* update);

 private:
  void Show(const TextDelta& delta);
  void Wake();

  const core::RequestId id_;
  const std::shared_ptr<core::TokenLog> log_;
  const std::vector<int32_t> stop_token_ids_;
  const std::function<void()> wake_;

  // Text thread.
  core::TokenLog::Cursor cursor_;
  TextStream text_;
  absl::Status broken_;               // decoding failed: the request is answered with this
  uint32_t stopped_after_ = 0;        // tokens, when a stop string ended it
  std::vector<int32_t> held_tokens_;  // read, not certain to count yet
  std::vector<core::TokenLogprobs> held_logprobs_;

  Mutex mutex_;
  OutputUpdate news_ ABSL_GUARDED_BY(mutex_);
  bool has_news_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace pagoda
