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

void AddServeFlags(ServerFlags* server, int64_t* local_workers, FlagSet* flags) {
  AddCoordinatorFlags(server, flags);
  AddWorkerFlags(server, flags);
  flags->Add({.name = "local-workers",
              .group = "Parallelism",
              .target = local_workers,
              .help =
                  "Workers that run here, from rank 0; those of the other ranks join from other "
                  "hosts (pagoda-worker --connect).",
              .default_text = "all",
              .min = 1,
              .max = 8});
  AddLogFlags(server, flags);
}

absl::Status CheckServe(const std::vector<std::string>& arguments,
                        const ServerFlags& server,
                        int64_t local_workers) {
  if (arguments.size() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("takes one MODEL directory, got ", arguments.size(), " arguments"));
  }
  if (local_workers > server.tensor_parallel_size) {
    return absl::InvalidArgumentError(absl::StrCat("--local-workers is ",
                                                   local_workers,
                                                   ", --tensor-parallel-size ",
                                                   server.tensor_parallel_size));
  }
  return absl::OkStatus();
}

}  // namespace

int Serve(const std::vector<std::string>& args) {
  ServerFlags server;
  int64_t local_workers = 0;
  FlagSet flags;
  AddServeFlags(&server, &local_workers, &flags);
  const std::optional<int> done =
      ParseCommand("serve",
                   "MODEL [flags]",
                   "Serves the model in a directory (Hugging Face layout) until SIGTERM or SIGINT, "
                   "which let\nunfinished requests finish; a second one does not.",
                   args,
                   &flags);
  if (done.has_value()) return *done;
  if (absl::Status status = CheckServe(flags.positional(), server, local_workers); !status.ok()) {
    return Fail("serve", status, kUsage);
  }
  const std::string& model = flags.positional()[0];
  if (absl::Status status = CheckModelDirectory(model); !status.ok()) return Fail("serve", status);

  Supervisor::BlockSignals();
  ApplyLogFlags(server, "pagoda");
  Supervisor supervisor({.programs = ProgramsDirectory(),
                         .model = model,
                         .flags = server,
                         .local_workers = local_workers,
                         .log = PassOn});
  const absl::Status status = supervisor.Run();
  if (status.ok()) {
    log::Info("stopped");
    return 0;
  }
  log::Error("serve ends", {{"reason", status.message()}});
  return kFailed;
}

}  // namespace pagoda
