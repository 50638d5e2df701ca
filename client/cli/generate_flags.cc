#include "client/cli/generate_flags.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace pagoda {
namespace {

constexpr size_t kMaxPromptBytes = 64 << 20;  // what a server lets into a message

absl::StatusOr<std::string> ReadStdin() {
  std::string text;
  std::array<char, 1 << 16> buffer;
  while (true) {
    const ssize_t got = read(STDIN_FILENO, buffer.data(), buffer.size());
    if (got == 0) return text;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return absl::UnavailableError(absl::StrCat("stdin: ", std::strerror(errno)));
    text.append(buffer.data(), static_cast<size_t>(got));
    if (text.size() > kMaxPromptBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("the prompt on stdin has more than ", kMaxPromptBytes, " bytes"));
    }
  }
}

// The first argument for a server that is not the default.
std::string Unusual(const ServerFlags& flags) {
  ServerFlags usual;
  usual.grpc_port = 0;
  const auto first = [](const std::vector<std::string>& got, const std::vector<std::string>& want) {
    for (size_t i = 0; i < got.size(); ++i) {
      if (got[i] != want[i]) return got[i];
    }
    return std::string();
  };
  std::string unusual = first(CoordinatorArguments(flags), CoordinatorArguments(usual));
  if (unusual.empty()) unusual = first(WorkerArguments(flags), WorkerArguments(usual));
  return unusual;
}

}  // namespace

GenerateFlagSet::GenerateFlagSet() {
  where_.server.grpc_port = 0;
  AddServer();
  AddRequest();
  AddSampling();
  AddCoordinatorFlags(&where_.server, &set_);
  AddWorkerFlags(&where_.server, &set_);
  AddLogFlags(&where_.server, &set_);
}

void GenerateFlagSet::AddServer() {
  set_.Add({.name = "model",
            .group = "Server",
            .target = &where_.model,
            .help = "Directory of a model: starts a server for this one request.",
            .placeholder = "DIR"});
  set_.Add({.name = "connect",
            .group = "Server",
            .target = &where_.connect,
            .help = "Address of a running server instead.",
            .placeholder = "HOST:PORT"});
}

void GenerateFlagSet::AddRequest() {
  set_.Add({.name = "prompt",
            .group = "Request",
            .target = &values_.prompt,
            .help = "What to continue, in UTF-8, special tokens included; - reads stdin.",
            .placeholder = "TEXT"});
  set_.Add({.name = "max-tokens",
            .group = "Request",
            .target = &values_.max_tokens,
            .help = "Tokens to generate at most.",
            .default_text = "the rest of the context",
            .min = 1,
            .max = std::numeric_limits<uint32_t>::max()});
  set_.Add({.name = "stop",
            .group = "Request",
            .target = &values_.stop,
            .help = "Text that ends the output and is not part of it; may be repeated.",
            .placeholder = "TEXT"});
  set_.Add({.name = "ignore-eos",
            .group = "Request",
            .target = &values_.ignore_eos,
            .help = "Go on after the model's stop tokens."});
  set_.Add({.name = "logprobs",
            .group = "Request",
            .target = &values_.logprobs,
            .help = "With --json: log probabilities, also of this many most likely tokens.",
            .default_text = "none",
            .min = 0,
            .max = 20});
  set_.Add({.name = "json",
            .group = "Request",
            .target = &where_.json,
            .help = "Print one JSON object instead of the text."});
}

void GenerateFlagSet::AddSampling() {
  const std::string group = "Sampling (unset: as the model's generation_config.json says)";
  const std::string unset = "the model's";
  set_.Add({.name = "temperature",
            .group = group,
            .target = &values_.temperature,
            .help = "0 always takes the most likely token.",
            .default_text = unset,
            .min = 0});
  set_.Add({.name = "top-p",
            .group = group,
            .target = &values_.top_p,
            .help = "Draw from the most likely tokens that hold this much probability, above 0.",
            .default_text = unset,
            .min = 0,
            .max = 1});
  set_.Add({.name = "top-k",
            .group = group,
            .target = &values_.top_k,
            .help = "Draw from this many most likely tokens; 0 and -1: from all.",
            .default_text = unset,
            .min = -1,
            .max = std::numeric_limits<int32_t>::max()});
  set_.Add({.name = "min-p",
            .group = group,
            .target = &values_.min_p,
            .help = "Draw from tokens at least this likely, as a share of the most likely one.",
            .default_text = unset,
            .min = 0,
            .max = 1});
  set_.Add({.name = "seed",
            .group = group,
            .target = &values_.seed,
            .help = "The same seed draws the same tokens.",
            .default_text = "drawn"});
}

absl::StatusOr<GenerateFlags> GenerateFlagSet::Where() const {
  if (!set_.positional().empty()) {
    return absl::InvalidArgumentError(absl::StrCat("takes flags only, got '",
                                                   set_.positional()[0],
                                                   "'; is it the text of --prompt?"));
  }
  if (where_.model.empty() == where_.connect.empty()) {
    return absl::InvalidArgumentError("takes one of --model DIR and --connect HOST:PORT");
  }
  if (!set_.IsSet("prompt")) return absl::InvalidArgumentError("needs --prompt TEXT");
  if (set_.IsSet("logprobs") && !where_.json) {
    return absl::InvalidArgumentError("--logprobs needs --json");
  }
  const std::string unusual = where_.connect.empty() ? "" : Unusual(where_.server);
  if (!unusual.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(unusual, " is for a private server; --connect uses one that runs already"));
  }
  return where_;
}

absl::StatusOr<GenerateRequest> GenerateFlagSet::Request() const {
  GenerateRequest request;
  request.prompt = values_.prompt;
  if (values_.prompt == "-") {
    ASSIGN_OR_RETURN(request.prompt, ReadStdin());
  }
  const auto set = [this](absl::string_view name, auto value, auto* target) {
    if (set_.IsSet(name)) *target = static_cast<std::decay_t<decltype(**target)>>(value);
  };
  set("max-tokens", values_.max_tokens, &request.max_tokens);
  set("temperature", values_.temperature, &request.temperature);
  set("top-p", values_.top_p, &request.top_p);
  set("top-k", values_.top_k, &request.top_k);
  set("min-p", values_.min_p, &request.min_p);
  set("seed", values_.seed, &request.seed);
  set("logprobs", values_.logprobs, &request.logprobs);
  request.stop = values_.stop;
  request.ignore_eos = values_.ignore_eos;
  request.return_token_ids = where_.json;
  return request;
}

}  // namespace pagoda
