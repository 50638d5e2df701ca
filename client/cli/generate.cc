// pagoda generate: one request, to a private server or to a running one.
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "client/cli/completion_json.h"
#include "client/cli/generate_flags.h"
#include "client/cli/private_server.h"
#include "client/cpp/client.h"
#include "common/log.h"
#include "common/status.h"

namespace pagoda {
namespace {

// Together below the 10 s in which a missing server must be known.
constexpr absl::Duration kConnectTimeout = absl::Seconds(3);
constexpr absl::Duration kAnswerTimeout = absl::Seconds(4);

absl::Status Print(absl::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) {
    return absl::OkStatus();
  }
  return absl::UnavailableError(absl::StrCat("stdout: ", std::strerror(errno)));
}

absl::Status PrintText(Client* client, const GenerateRequest& request) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Generation> generation, client->Start(request));
  while (const std::optional<Event> event = generation->Next()) {
    const Delta* delta = std::get_if<Delta>(&*event);
    if (delta != nullptr) RETURN_IF_ERROR(Print(delta->text));
  }
  // Just the text; but a prompt that follows it on a terminal needs a line of its own.
  if (isatty(STDOUT_FILENO) == 1) RETURN_IF_ERROR(Print("\n"));
  return generation->status();
}

absl::Status PrintJson(Client* client, const GenerateRequest& request) {
  ASSIGN_OR_RETURN(const Completion completion, client->Generate(request));
  return Print(absl::StrCat(CompletionJson(completion, request.logprobs.has_value()), "\n"));
}

absl::Status Ask(const std::string& address, bool json, const GenerateRequest& request) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, Client::Connect(address, kConnectTimeout));
  const auto model = client->GetModel(kAnswerTimeout);
  if (model.status().code() == absl::StatusCode::kDeadlineExceeded) {
    return absl::UnavailableError(absl::StrCat("the server at ", address, " does not answer"));
  }
  RETURN_IF_ERROR(model.status());
  return json ? PrintJson(client.get(), request) : PrintText(client.get(), request);
}

absl::Status AskPrivately(const GenerateFlags& where, const GenerateRequest& request) {
  RETURN_IF_ERROR(CheckModelDirectory(where.model));
  log::SetMinSeverity(log::Severity::kError);
  Supervisor::BlockSignals();
  PrivateServer server({.programs = ProgramsDirectory(),
                        .model = where.model,
                        .flags = where.server,
                        .log = nullptr,
                        .drain = false});
  ASSIGN_OR_RETURN(const std::string address, server.WaitUntilServing());
  const absl::Status status = Ask(address, where.json, request);
  const absl::Status end = server.End();
  // A server that broke says more than the connection that broke with it.
  return status.ok() || end.ok() ? status : end;
}

}  // namespace

int Generate(const std::vector<std::string>& args) {
  GenerateFlagSet flags;
  const std::optional<int> done = ParseCommand(
      "generate",
      "(--model DIR | --connect HOST:PORT) --prompt TEXT [flags]",
      "Continues a prompt and prints the text, as it comes. --model starts a server for it, which "
      "the\nflags below `Entrance` describe.",
      args,
      flags.flags());
  if (done.has_value()) return *done;
  const absl::StatusOr<GenerateFlags> where = flags.Where();
  if (!where.ok()) return Fail("generate", where.status(), kUsage);
  const absl::StatusOr<GenerateRequest> request = flags.Request();
  if (!request.ok()) return Fail("generate", request.status());
  const absl::Status status = where->connect.empty() ? AskPrivately(*where, *request)
                                                     : Ask(where->connect, where->json, *request);
  return status.ok() ? 0 : Fail("generate", status);
}

}  // namespace pagoda
