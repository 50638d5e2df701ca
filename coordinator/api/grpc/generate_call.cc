#include "coordinator/api/grpc/generate_call.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "coordinator/api/grpc/from_proto.h"
#include "coordinator/transport/rpc_status.h"

namespace pagoda {
namespace {

constexpr size_t kMaxDeltaTokens = 512;

v1::FinishReason ToProto(core::FinishReason reason) {
  switch (reason) {
    case core::FinishReason::kStop:
      return v1::FINISH_REASON_STOP;
    case core::FinishReason::kLength:
      return v1::FINISH_REASON_LENGTH;
    case core::FinishReason::kCancelled:
      return v1::FINISH_REASON_CANCELLED;
    case core::FinishReason::kNone:
      return v1::FINISH_REASON_UNSPECIFIED;
  }
  return v1::FINISH_REASON_UNSPECIFIED;
}

std::string TextOf(const Tokenizer& tokenizer, int32_t token) {
  return tokenizer.Decode({&token, 1}, /*skip_special_tokens=*/false).value_or("");
}

void AddLogprob(const Tokenizer& tokenizer,
                int32_t token,
                const core::TokenLogprobs& from,
                v1::TokenLogprob* to) {
  to->set_token(static_cast<uint32_t>(token));
  to->set_logprob(from.logprob);
  to->set_text(TextOf(tokenizer, token));
  for (const auto& candidate : from.top) {
    v1::TokenLogprob::Top* top = to->add_top();
    top->set_token(static_cast<uint32_t>(candidate.token));
    top->set_logprob(candidate.logprob);
    top->set_text(TextOf(tokenizer, candidate.token));
  }
}

}  // namespace

GenerateCall* GenerateCall::Start(Acceptor* acceptor,
                                  WorkPool* pool,
                                  const grpc::CallbackServerContext* context,
                                  const v1::GenerateRequest* request) {
  const absl::Time deadline = absl::FromChrono(context->deadline());
  std::shared_ptr<GenerateCall> call(new GenerateCall(acceptor, deadline, request));
  call->self_ = call;
  if (request->ByteSizeLong() > kMaxPromptBytes) {
    MutexLock lock(&call->mutex_);
    call->FinishLocked(absl::InvalidArgumentError(absl::StrCat("the request has ",
                                                               request->ByteSizeLong(),
                                                               " bytes; the limit is ",
                                                               kMaxPromptBytes)));
    return call.get();
  }
  if (!pool->TryRun([call] { call->Begin(); })) {
    MutexLock lock(&call->mutex_);
    call->FinishLocked(
        absl::ResourceExhaustedError("too many prompts wait to be tokenised: try again in 1 s"));
  }
  return call.get();
}

GenerateCall::GenerateCall(Acceptor* acceptor,
                           absl::Time deadline,
                           const v1::GenerateRequest* request)
    : acceptor_(acceptor),
      deadline_(deadline),
      request_(request),
      return_token_ids_(request->return_token_ids()) {}

void GenerateCall::Begin() {
  {
    MutexLock lock(&mutex_);
    if (cancelled_) {
      FinishLocked(absl::CancelledError("the client is gone"));
      return;
    }
  }
  absl::StatusOr<Acceptor::Accepted> accepted = Accept();
  {
    MutexLock lock(&mutex_);
    if (!accepted.ok()) {
      FinishLocked(accepted.status());
      return;
    }
    accepted_ = *std::move(accepted);
    if (cancelled_) acceptor_->Detach(accepted_.id);
  }
  Pump();
}

absl::StatusOr<Acceptor::Accepted> GenerateCall::Accept() {
  const std::shared_ptr<const ServedModel> model = acceptor_->model();
  if (model == nullptr) return absl::UnavailableError("no worker has loaded the model yet");
  {
    MutexLock lock(&mutex_);
    model_ = model;
  }
  ASSIGN_OR_RETURN(GenerateParams params, FromProto(*request_, *model));
  params.deadline = deadline_;
  ASSIGN_OR_RETURN(const ValidRequest request, Parse(std::move(params), *model));
  return acceptor_->Accept(request, [call = self_] { call->Pump(); });
}

void GenerateCall::Pump() {
  MutexLock lock(&mutex_);
  // Called again when there is an output, when a write is done, when there is more.
  if (accepted_.output == nullptr || !outgoing_.empty() || finished_) return;
  OutputUpdate update;
  if (!ended_ && accepted_.output->Take(&update)) Translate(update);
  if (cancelled_) outgoing_.clear();
  if (!outgoing_.empty()) {
    StartWrite(&outgoing_.front());
  } else if (ended_) {
    FinishLocked(end_);
  }
}

void GenerateCall::Translate(const OutputUpdate& update) {
  if (update.accepted) {
    v1::Accepted* accepted = outgoing_.emplace_back().mutable_accepted();
    accepted->set_id(RequestName(accepted_.id));
    accepted->set_prompt_tokens(accepted_.prompt_tokens);
    accepted->set_seed(accepted_.seed);
    accepted->set_model(model_->name);
    accepted->set_system_fingerprint(model_->fingerprint);
  }
  if (!update.tokens.empty() || !update.text.empty()) TranslateDelta(update);
  if (update.finished) TranslateEnd(update);
}

void GenerateCall::TranslateDelta(const OutputUpdate& update) {
  // What a slow client missed comes merged; in messages that stay far below gRPC's limit of 4 MiB.
  size_t begin = 0;
  do {
    const size_t end = std::min(update.tokens.size(), begin + kMaxDeltaTokens);
    v1::Delta* delta = outgoing_.emplace_back().mutable_delta();
    delta->set_token_offset(update.token_offset + static_cast<uint32_t>(begin));
    delta->set_num_tokens(static_cast<uint32_t>(end - begin));
    delta->set_text_offset(update.text_offset + (begin == 0 ? 0 : update.text.size()));
    if (begin == 0) delta->set_text(update.text);
    for (size_t i = begin; i < end; ++i) {
      if (return_token_ids_) delta->add_token_ids(static_cast<uint32_t>(update.tokens[i]));
      if (update.logprobs.empty()) continue;
      AddLogprob(acceptor_->tokenizer(),
                 update.tokens[i],
                 update.logprobs[i],
                 delta->add_logprobs());
    }
    begin = end;
  } while (begin < update.tokens.size());
}

void GenerateCall::TranslateEnd(const OutputUpdate& update) {
  ended_ = true;
  end_ = update.status;
  if (!end_.ok()) return;
  v1::Finished* finished = outgoing_.emplace_back().mutable_finished();
  v1::Choice* choice = finished->add_choices();
  choice->set_finish_reason(ToProto(update.finish));
  choice->set_completion_tokens(update.completion_tokens);
  finished->mutable_usage()->set_prompt_tokens(accepted_.prompt_tokens);
  finished->mutable_usage()->set_completion_tokens(update.completion_tokens);
}

void GenerateCall::OnWriteDone(bool ok) {
  {
    MutexLock lock(&mutex_);
    outgoing_.pop_front();
    if (!ok) outgoing_.clear();  // the client is gone: OnCancel follows
    if (!outgoing_.empty()) {
      StartWrite(&outgoing_.front());
      return;
    }
  }
  Pump();
}

void GenerateCall::OnCancel() {
  {
    MutexLock lock(&mutex_);
    cancelled_ = true;
    if (accepted_.output != nullptr && !ended_) acceptor_->Detach(accepted_.id);
  }
  Pump();
}

void GenerateCall::FinishLocked(const absl::Status& status) {
  if (finished_) return;
  finished_ = true;
  if (accepted_.output != nullptr) acceptor_->Forget(accepted_.id);
  accepted_.output.reset();
  Finish(ToGrpc(status));
}

void GenerateCall::OnDone() {
  // Deletes this object, unless the request's last wake is still under way.
  const std::shared_ptr<GenerateCall> self = std::move(self_);
}

}  // namespace pagoda
