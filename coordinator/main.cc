// pagoda-coordinator: schedules for one group of workers and serves clients. Started by `pagoda
// serve`, or by hand.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/flags.h"
#include "common/log.h"
#include "common/server_flags.h"
#include "common/status.h"
#include "common/version.h"
#include "coordinator/server.h"

namespace pagoda {
namespace {

struct Flags {
  ServerFlags server;
  std::vector<std::string> workers;
  int64_t status_fd = -1;
  bool help = false;
  bool version = false;
};

FlagSet MakeFlagSet(Flags* flags) {
  FlagSet set;
  AddCoordinatorFlags(&flags->server, &set);
  AddLogFlags(&flags->server, &set);
  set.Add({.name = "worker",
           .group = "Group",
           .target = &flags->workers,
           .help =
               "gRPC address of a worker, host:port or unix:/path; once for each rank, from rank "
               "0. The ranks without one announce themselves (pagoda-worker --connect)."});
  set.Add(
      {.name = "status-fd",
       .group = "Operation",
       .target = &flags->status_fd,
       .help =
           "Inherited pipe for one-line reports to the supervisor: ready PORT, suspect REASON."});
  set.Add({.name = "help", .group = "Operation", .target = &flags->help, .help = "This text."});
  set.Add({.name = "version", .group = "Operation", .target = &flags->version, .help = "Version."});
  return set;
}

int Usage(const absl::Status& status) {
  std::fprintf(stderr, "pagoda-coordinator: %s\n", std::string(status.message()).c_str());
  return 2;
}

// Signals are taken with sigwait, so no handler runs anywhere.
sigset_t BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return signals;
}

int Main(int argc, char** argv) {
  Flags flags;
  FlagSet set = MakeFlagSet(&flags);
  if (absl::Status status = set.Parse({argv + 1, argv + argc}); !status.ok()) return Usage(status);
  if (flags.help) {
    std::printf("Usage: pagoda-coordinator MODEL [flags]\n\n%s", set.Help().c_str());
    return 0;
  }
  if (flags.version) {
    std::printf("pagoda-coordinator %s\n", kVersion);
    return 0;
  }
  if (set.positional().size() != 1) {
    return Usage(absl::InvalidArgumentError("needs one MODEL directory"));
  }
  if (flags.workers.size() > static_cast<size_t>(flags.server.tensor_parallel_size)) {
    return Usage(absl::InvalidArgumentError(absl::StrCat(flags.workers.size(),
                                                         " of --worker for --tensor-parallel-size ",
                                                         flags.server.tensor_parallel_size)));
  }
  ApplyLogFlags(flags.server, "coordinator");
  const sigset_t signals = BlockSignals();
  CoordinatorOptions options{.flags = flags.server,
                             .model = set.positional()[0],
                             .workers = flags.workers,
                             .status_fd = static_cast<int>(flags.status_fd)};
  absl::Status status = RunCoordinator(options, signals);
  if (status.ok()) return 0;
  log::Error("coordinator ends", {{"reason", status.message()}});
  return 1;
}

}  // namespace
}  // namespace pagoda

int main(int argc, char** argv) { return pagoda::Main(argc, argv); }
