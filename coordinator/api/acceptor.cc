#include "coordinator/api/acceptor.h"

#include <sys/random.h>

#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "common/check.h"
#include "common/status.h"

namespace pagoda {
namespace {

uint64_t Entropy() {
  uint64_t bits = 0;
  CHECK_EQ(getrandom(&bits, sizeof(bits), 0), static_cast<ssize_t>(sizeof(bits)));
  return bits;
}

// A tokenizer may have more entries than the model has embeddings.
absl::Status CheckVocabulary(const std::vector<int32_t>& tokens, const ServedModel& model) {
  for (int32_t token : tokens) {
    if (static_cast<uint32_t>(token) < model.vocab_size) continue;
    return absl::InvalidArgumentError(absl::StrCat("the prompt has token id ",
                                                   token,
                                                   "; the model's vocabulary has ",
                                                   model.vocab_size,
                                                   " ids"));
  }
  return absl::OkStatus();
}

}  // namespace

std::string RequestName(core::RequestId id) { return absl::StrFormat("req-%016x", id.value()); }

std::optional<core::RequestId> ParseRequestName(absl::string_view name) {
  uint64_t value = 0;
  if (!absl::ConsumePrefix(&name, "req-") || name.size() != 16 ||
      !absl::SimpleHexAtoi(name, &value)) {
    return std::nullopt;
  }
  return core::RequestId(value);
}

Acceptor::Acceptor(const Tokenizer* tokenizer, Engine* engine, OutputStage* outputs)
    : tokenizer_(tokenizer), engine_(engine), outputs_(outputs) {}

void Acceptor::SetModel(ServedModel model) {
  MutexLock lock(&mutex_);
  model_ = std::make_shared<const ServedModel>(std::move(model));
}

std::shared_ptr<const ServedModel> Acceptor::model() const {
  MutexLock lock(&mutex_);
  return model_;
}

core::RequestId Acceptor::NewId() {
  MutexLock lock(&mutex_);
  while (true) {
    const core::RequestId id(Entropy());
    if (live_.insert(id).second) return id;
  }
}

absl::StatusOr<Acceptor::Accepted> Acceptor::Accept(const ValidRequest& request,
                                                    std::function<void()> wake) {
  const std::shared_ptr<const ServedModel> model = this->model();
  const uint32_t context = model->capacity.max_model_len;
  core::RequestSpec spec = request.spec();
  if (const auto* text = std::get_if<std::string>(&request.prompt())) {
    ASSIGN_OR_RETURN(spec.prompt, tokenizer_->Encode(*text));
    RETURN_IF_ERROR(CheckVocabulary(spec.prompt, *model));
  } else {
    spec.prompt = std::get<std::vector<int32_t>>(request.prompt());
  }
  const uint64_t prompt_tokens = spec.prompt.size();
  if (prompt_tokens == 0) return absl::InvalidArgumentError("the prompt has no tokens");
  if (prompt_tokens >= context) {
    return absl::InvalidArgumentError(absl::StrCat("the prompt has ",
                                                   prompt_tokens,
                                                   " tokens; the context of ",
                                                   context,
                                                   " must leave room for one more"));
  }
  spec.max_tokens = request.max_tokens().value_or(context - static_cast<uint32_t>(prompt_tokens));
  spec.sampling.seed = request.seed().has_value() ? *request.seed() : Entropy();
  spec.id = NewId();
  spec.log = std::make_shared<core::TokenLog>(spec.sampling.logprobs >= 0);

  Accepted accepted;
  accepted.id = spec.id;
  accepted.prompt_tokens = static_cast<uint32_t>(prompt_tokens);
  accepted.seed = spec.sampling.seed;
  accepted.output =
      std::make_shared<RequestOutput>(RequestOutput::Options{.id = spec.id,
                                                             .log = spec.log,
                                                             .stop = request.stop(),
                                                             .stop_token_ids = spec.stop_token_ids},
                                      *tokenizer_,
                                      std::move(wake));
  outputs_->Add(accepted.output);
  engine_->Post(core::Submit{std::move(spec)});
  return accepted;
}

void Acceptor::Detach(core::RequestId id) { engine_->Post(core::Detach{id}); }

absl::Status Acceptor::Cancel(core::RequestId id) {
  {
    MutexLock lock(&mutex_);
    if (!live_.contains(id)) {
      return absl::NotFoundError(absl::StrCat("no unfinished request ", RequestName(id)));
    }
  }
  engine_->Post(core::Cancel{id});
  return absl::OkStatus();
}

void Acceptor::Forget(core::RequestId id) {
  MutexLock lock(&mutex_);
  live_.erase(id);
  if (live_.empty()) all_read_.SignalAll();
}

bool Acceptor::WaitUntilAllRead(absl::Time deadline) {
  MutexLock lock(&mutex_);
  while (!live_.empty()) {
    if (!all_read_.WaitUntil(&mutex_, deadline)) return live_.empty();
  }
  return true;
}

}  // namespace pagoda
