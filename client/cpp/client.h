// A client of a Pagoda server. Thread-safe; every call blocks its caller, so streams that run at
// once want a thread each.
//
//   ASSIGN_OR_RETURN(auto client, Client::Connect("127.0.0.1:50051", absl::Seconds(5)));
//   ASSIGN_OR_RETURN(auto completion,
//                    client->Generate({.prompt = "Hello"}, [](const Delta& d) { Show(d.text); }));
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace pagoda {

// Unset values take the model's defaults.
struct GenerateRequest {
  std::variant<std::string, std::vector<uint32_t>> prompt;  // UTF-8, or token ids
  std::optional<float> temperature{};
  std::optional<float> top_p{};
  std::optional<int32_t> top_k{};
  std::optional<float> min_p{};
  std::optional<uint64_t> seed{};
  std::optional<uint32_t> max_tokens{};
  std::optional<uint32_t> n{};
  std::optional<uint32_t> logprobs{};  // of the drawn token, and of this many most likely ones
  std::vector<std::string> stop{};
  std::vector<uint32_t> stop_token_ids{};
  bool ignore_eos = false;
  bool return_token_ids = false;
  absl::Duration timeout = absl::InfiniteDuration();  // then DEADLINE_EXCEEDED
};

// What a stream brings: Accepted, then Deltas, then Finished. See inference.proto.
struct Accepted {
  std::string id;
  uint32_t prompt_tokens = 0;
  uint64_t seed = 0;
  std::string model;
  std::string system_fingerprint;
};

struct TokenLogprob {
  uint32_t token = 0;
  float logprob = 0;
  std::string text;
  std::vector<TokenLogprob> top;  // themselves without `top`
};

struct Delta {
  uint32_t index = 0;         // choice
  uint32_t token_offset = 0;  // tokens of the choice before this delta
  uint32_t num_tokens = 0;
  uint64_t text_offset = 0;  // bytes
  std::string text;          // whole characters
  std::vector<uint32_t> token_ids;
  std::vector<TokenLogprob> logprobs;
};

enum class FinishReason { kUnknown, kStop, kLength, kCancelled };
absl::string_view FinishReasonName(FinishReason reason);  // "stop"

struct Finished {
  struct Choice {
    uint32_t index = 0;
    FinishReason reason = FinishReason::kUnknown;
    uint32_t completion_tokens = 0;
  };
  std::vector<Choice> choices;
  uint32_t prompt_tokens = 0;
  uint32_t completion_tokens = 0;
};

using Event = std::variant<Accepted, Delta, Finished>;

// A generation under way. One thread reads; Cancel is for any.
class Generation {
 public:
  virtual ~Generation() = default;  // cancels what is not over

  // Waits for the next event; none at the end, which status() then tells.
  virtual std::optional<Event> Next() = 0;
  // OK after Finished. Deltas were checked for gaps: DATA_LOSS.
  virtual absl::Status status() const = 0;
  // Ends the stream; status() will be CANCELLED, or what came before.
  virtual void Cancel() = 0;
};

// A generation as a whole.
struct Completion {
  struct Choice {
    std::string text;
    std::vector<uint32_t> token_ids;  // with return_token_ids
    std::vector<TokenLogprob> logprobs;
    FinishReason reason = FinishReason::kUnknown;
    uint32_t completion_tokens = 0;
  };
  Accepted accepted;
  std::vector<Choice> choices;  // by index
  uint32_t prompt_tokens = 0;
  uint32_t completion_tokens = 0;
};

struct ModelInfo {
  std::string name;
  std::string architecture;
  std::string dtype;
  uint32_t vocab_size = 0;
  uint32_t max_model_len = 0;  // tokens
  uint32_t block_size = 0;     // tokens
  uint32_t num_blocks = 0;     // usable
  std::string system_fingerprint;
  std::string version;  // of the server
};

class Client {
 public:
  // `address` is HOST:PORT or unix:/path. UNAVAILABLE when no server answers within `timeout`.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(const std::string& address,
                                                         absl::Duration timeout);
  virtual ~Client() = default;

  // INVALID_ARGUMENT for text that is not UTF-8, with the place of the first byte that is not;
  // every other error comes from the server, through the stream. The generation may outlive the
  // client.
  virtual absl::StatusOr<std::unique_ptr<Generation>> Start(const GenerateRequest& request) = 0;

  // Starts one and reads it to its end; `on_delta`, if any, sees every piece as it comes.
  absl::StatusOr<Completion> Generate(const GenerateRequest& request,
                                      const std::function<void(const Delta&)>& on_delta = nullptr);

  // NOT_FOUND when the request is unknown or over.
  virtual absl::Status Cancel(const std::string& id) = 0;

  virtual absl::StatusOr<std::vector<uint32_t>> Tokenize(const std::string& text) = 0;

  virtual absl::StatusOr<ModelInfo> GetModel(absl::Duration timeout = absl::InfiniteDuration()) = 0;
};

}  // namespace pagoda
