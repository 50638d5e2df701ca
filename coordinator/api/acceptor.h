// The way in, behind every protocol: tokenise, fill in what was left open, hand to the engine. Only
// Accept makes a request that runs.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "coordinator/api/served_model.h"
#include "coordinator/api/valid_request.h"
#include "coordinator/engine/engine.h"
#include "coordinator/engine/output_stage.h"
#include "coordinator/text/tokenizer.h"

namespace pagoda {

class Acceptor {
 public:
  // A request on its way; the entrance reads `output` until it is finished and
  // its client has it, then calls Forget.
  struct Accepted {
    core::RequestId id;
    std::shared_ptr<RequestOutput> output;
    uint32_t prompt_tokens = 0;
    uint64_t seed = 0;
  };

  // All outlive the acceptor.
  Acceptor(const Tokenizer* tokenizer, Engine* engine, OutputStage* outputs);

  // Any thread; whenever a worker has loaded the model.
  void SetModel(ServedModel model);
  // Null until then.
  std::shared_ptr<const ServedModel> model() const;

  const Tokenizer& tokenizer() const { return *tokenizer_; }

  // Any thread; tokenises, so it may take a while. `wake`: see RequestOutput. The core may still
  // refuse the request (queue full, never fits the pool); that comes as the output's end.
  absl::StatusOr<Accepted> Accept(const ValidRequest& request, std::function<void()> wake);

  // The reader is gone before the end; without a resume grace that cancels.
  void Detach(core::RequestId id);
  // NOT_FOUND for an id that is unknown or over.
  absl::Status Cancel(core::RequestId id);
  void Forget(core::RequestId id);
  // Waits until every request that was accepted is forgotten or `deadline` passed; answers which.
  bool WaitUntilAllRead(absl::Time deadline);

 private:
  core::RequestId NewId();

  const Tokenizer* const tokenizer_;
  Engine* const engine_;
  OutputStage* const outputs_;
  mutable Mutex mutex_;
  CondVar all_read_;
  // Shared with the calls that read it while a later worker replaces it.
  std::shared_ptr<const ServedModel> model_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_set<core::RequestId> live_ ABSL_GUARDED_BY(mutex_);
};

// Ids as clients see them: "req-" and 16 hexadecimal digits.
std::string RequestName(core::RequestId id);
std::optional<core::RequestId> ParseRequestName(absl::string_view name);

}  // namespace pagoda
