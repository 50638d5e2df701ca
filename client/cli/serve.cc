// pagoda serve: the supervisor, with the programs' log lines passed on.
#include <unistd.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "client/cli/supervisor/supervisor.h"
#include "common/log.h"
#include "common/server_flags.h"

namespace pagoda {
namespace {

// One write, as every log line of ours.
void PassOn(absl::string_view line) {
  const std::string text = absl::StrCat(line, "\n");
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
}

}  // namespace

int Serve(const std::vector<std::string>& args) {
  ServerFlags server;
  FlagSet flags;
  AddCoordinatorFlags(&server, &flags);
  AddWorkerFlags(&server, &flags);
  AddLogFlags(&server, &flags);
  const std::optional<int> done =
      ParseCommand("serve",
                   "MODEL [flags]",
                   "Serves the model in a directory (Hugging Face layout) until SIGTERM or SIGINT, "
                   "which let\nunfinished requests finish; a second one does not.",
                   args,
                   &flags);
  if (done.has_value()) return *done;
  if (flags.positional().size() != 1) {
    return Fail("serve",
                absl::InvalidArgumentError(absl::StrCat("takes one MODEL directory, got ",
                                                        flags.positional().size(),
                                                        " arguments")),
                kUsage);
  }
  const std::string& model = flags.positional()[0];
  if (absl::Status status = CheckModelDirectory(model); !status.ok()) return Fail("serve", status);

  Supervisor::BlockSignals();
  ApplyLogFlags(server, "pagoda");
  Supervisor supervisor(
      {.programs = ProgramsDirectory(), .model = model, .flags = server, .log = PassOn});
  const absl::Status status = supervisor.Run();
  if (status.ok()) {
    log::Info("stopped");
    return 0;
  }
  log::Error("serve ends", {{"reason", status.message()}});
  return kFailed;
}

}  // namespace pagoda
