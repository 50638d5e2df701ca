// pagoda-worker: one rank. Loads a model when a coordinator says so and computes what its plans
// say. Started by `pagoda serve`, or by hand.
#include <grpc/support/log.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/flags.h"
#include "common/log.h"
#include "common/server_flags.h"
#include "common/status.h"
#include "common/version.h"
#include "worker/device.h"
#include "worker/service/announcer.h"
#include "worker/service/listen.h"
#include "worker/service/probe.h"
#include "worker/service/supervision.h"
#include "worker/service/worker_service.h"

namespace pagoda {
namespace {

constexpr absl::Duration kJoinTimeout = absl::Minutes(1);
// For what was sent to reach its reader, and for short calls.
constexpr std::chrono::milliseconds kShutdownGrace(200);

struct Flags {
  ServerFlags server;
  std::string listen;
  std::string connect;
  int64_t rank = 0;
  int64_t group_size = 1;
  std::string probe;
  int64_t status_fd = -1;
  bool help = false;
  bool version = false;
};

void AddGroupFlags(Flags* flags, FlagSet* set) {
  set->Add({.name = "listen",
            .group = "Group",
            .target = &flags->listen,
            .help = "Where the coordinator dials: host:port or unix:/path.",
            .placeholder = "ADDRESS"});
  set->Add({.name = "connect",
            .group = "Group",
            .target = &flags->connect,
            .help = "A coordinator to which the address of --listen is announced; in a "
                    "LeaderWorkerSet port 50051 of its leader, LWS_LEADER_ADDRESS.",
            .placeholder = "ADDRESS"});
  set->Add({.name = "rank",
            .group = "Group",
            .target = &flags->rank,
            .help = "With --connect: this worker's rank, below the group's size; in a "
                    "LeaderWorkerSet LWS_WORKER_INDEX.",
            .min = 0,
            .max = 7});
  set->Add({.name = "group-size",
            .group = "Group",
            .target = &flags->group_size,
            .help = "With --connect: ranks of the group; in a LeaderWorkerSet LWS_GROUP_SIZE.",
            .min = 1,
            .max = 8});
}

FlagSet MakeFlagSet(Flags* flags) {
  FlagSet set;
  AddGroupFlags(flags, &set);
  AddWorkerFlags(&flags->server, &set);
  AddLogFlags(&flags->server, &set);
  set.Add({.name = "probe",
           .group = "Operation",
           .target = &flags->probe,
           .help =
               "Print what this machine offers and, for a model, whether it fits; then end. Empty: "
               "the machine alone.",
           .placeholder = "MODEL"});
  set.Add({.name = "status-fd",
           .group = "Operation",
           .target = &flags->status_fd,
           .help = "Inherited pipe for one-line reports to the supervisor: ready, step."});
  set.Add({.name = "help", .group = "Operation", .target = &flags->help, .help = "This text."});
  set.Add({.name = "version", .group = "Operation", .target = &flags->version, .help = "Version."});
  return set;
}

int Usage(const absl::Status& status) {
  std::fprintf(stderr, "pagoda-worker: %s\n", std::string(status.message()).c_str());
  return 2;
}

int RunProbe(const Flags& flags) {
  const absl::StatusOr<ProbeReport> report =
      Probe({.model = flags.probe, .device = DeviceOf(flags.server)});
  if (!report.ok()) {
    std::fprintf(stderr, "pagoda-worker: %s\n", std::string(report.status().message()).c_str());
    return 1;
  }
  std::fputs(report->text.c_str(), stdout);
  return report->fits ? 0 : 1;
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

// gRPC's own lines in our format; its errors alone, and none of them ends anything here.
void RouteGrpcLog() {
  gpr_set_log_function([](gpr_log_func_args* args) {
    if (args->severity != GPR_LOG_SEVERITY_ERROR) return;
    log::Warning("gRPC", {{"message", args->message}});
  });
}

// Nothing on a lost device can be waited for or given back. The supervisor starts another worker.
void EndWithDevice(const absl::Status& why) {
  log::Error("worker ends", {{"reason", absl::StrCat("the device is lost: ", why.message())}});
  std::quick_exit(1);
}

// Serves until a signal, or until the announcement failed.
absl::Status Serve(const Flags& flags, const sigset_t& signals) {
  const int status_fd = static_cast<int>(flags.status_fd);
  if (status_fd >= 0) RETURN_IF_ERROR(DieWithSupervisor(status_fd));
  // It has lost its coordinator when a stream is over, or its place: it says again where it is.
  absl::Status announced;
  std::optional<Announcer> announcer;
  if (!flags.connect.empty()) {
    announcer.emplace(flags.connect, kJoinTimeout, [&announced](absl::Status status) {
      announced = std::move(status);
      if (!announced.ok()) kill(getpid(), SIGTERM);
    });
  }
  WorkerService service({.device = DeviceOf(flags.server),
                         .comm_backend = flags.server.comm_backend,
                         .comm_interface = flags.server.comm_interface,
                         .ready = [status_fd] { Report(status_fd, "ready"); },
                         .stepped = [status_fd] { Report(status_fd, "step"); },
                         .stream_over =
                             [&announcer] {
                               if (announcer.has_value()) announcer->Again();
                             },
                         .device_lost = EndWithDevice});
  ASSIGN_OR_RETURN(const WorkerServer listening, Listen(flags.listen, &service));
  log::Info("worker listens", {{"address", listening.address}});

  if (announcer.has_value()) {
    v1::JoinRequest request;
    request.set_protocol_version(kWorkerProtocolVersion);
    request.set_address(listening.address);
    request.set_rank(static_cast<uint32_t>(flags.rank));
    request.set_size(static_cast<uint32_t>(flags.group_size));
    announcer->Announce(request);
  }
  int signal = 0;
  sigwait(&signals, &signal);
  if (announcer.has_value()) announcer->Stop();
  log::Info("worker ends", {{"signal", signal}});
  if (!service.Stop()) std::quick_exit(0);  // in the middle of a load, which nobody needs any more
  listening.server->Shutdown(std::chrono::system_clock::now() + kShutdownGrace);
  return announced;
}

// What a LeaderWorkerSet tells its pods, where no flag says otherwise. A supervised worker has its
// place from its supervisor.
absl::Status TakeLwsEnvironment(const FlagSet& set, Flags* flags) {
  if (flags->status_fd >= 0) return absl::OkStatus();
  const auto number = [&set](const char* flag, const char* name, int64_t* value) -> absl::Status {
    const char* const text = std::getenv(name);
    if (text == nullptr || set.IsSet(flag)) return absl::OkStatus();
    if (absl::SimpleAtoi(text, value) && *value >= 0 && *value <= 8) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(name, " is \"", text, "\", expected 0 to 8"));
  };
  RETURN_IF_ERROR(number("rank", "LWS_WORKER_INDEX", &flags->rank));
  RETURN_IF_ERROR(number("group-size", "LWS_GROUP_SIZE", &flags->group_size));
  const char* const leader = std::getenv("LWS_LEADER_ADDRESS");
  if (leader != nullptr && !set.IsSet("connect")) {
    flags->connect = absl::StrCat(leader, ":", flags->server.grpc_port);
  }
  if (flags->rank < flags->group_size) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("rank ", flags->rank, " of a group of ", flags->group_size));
}

int Main(int argc, char** argv) {
  Flags flags;
  FlagSet set = MakeFlagSet(&flags);
  if (absl::Status status = set.Parse({argv + 1, argv + argc}); !status.ok()) return Usage(status);
  if (flags.help) {
    std::printf("Usage: pagoda-worker --listen ADDRESS [flags]\n\n%s", set.Help().c_str());
    return 0;
  }
  if (flags.version) {
    std::printf("pagoda-worker %s\n", kVersion);
    return 0;
  }
  if (!set.positional().empty()) {
    return Usage(absl::InvalidArgumentError(
        absl::StrCat("takes flags alone, not \"", set.positional()[0], "\"")));
  }
  if (set.IsSet("probe")) return RunProbe(flags);
  if (absl::Status status = TakeLwsEnvironment(set, &flags); !status.ok()) return Usage(status);
  if (flags.listen.empty()) {
    return Usage(absl::InvalidArgumentError("needs --listen ADDRESS, or --probe MODEL"));
  }
  if (!flags.connect.empty()) {
    if (absl::Status status = CheckReachable(flags.listen); !status.ok()) return Usage(status);
  }
  ApplyLogFlags(flags.server, "worker");
  RouteGrpcLog();
  const absl::Status status = Serve(flags, BlockSignals());
  if (status.ok()) return 0;
  log::Error("worker ends", {{"reason", status.message()}});
  return 1;
}

}  // namespace
}  // namespace pagoda

int main(int argc, char** argv) { return pagoda::Main(argc, argv); }
