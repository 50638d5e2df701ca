#include "tests/e2e/serve.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "tests/e2e/processes.h"

namespace pagoda::e2e {
namespace {

std::vector<std::string> Command(const std::string& model,
                                 const std::vector<std::string>& flags,
                                 const std::string& programs) {
  std::vector<std::string> argv = {programs.empty() ? Program("pagoda") : programs + "/pagoda",
                                   "serve",
                                   model,
                                   "--grpc-port=0",
                                   "--step-timeout=120s"};
  argv.insert(argv.end(), flags.begin(), flags.end());
  return argv;
}

}  // namespace

Serve::Serve(const std::vector<std::string>& flags,
             const std::string& model,
             const std::string& programs)
    : LoggedProcess(Command(model, flags, programs)) {}

std::unique_ptr<Client> Serve::Connect() {
  auto client = Client::Connect(address(), kPatience);
  CHECK_OK(client);
  return *std::move(client);
}

pid_t Serve::PidAfter(absl::string_view text, int count) {
  const std::string rest = WaitForRest(text, count);
  pid_t pid = 0;
  CHECK(absl::SimpleAtoi(rest, &pid)) << rest << "\n" << log();
  return pid;
}

pid_t Serve::worker(int life, int rank) {
  return PidAfter(absl::StrCat("worker started rank=", rank, " pid="), life);
}
pid_t Serve::coordinator() { return PidAfter("coordinator started pid=", 1); }

int Serve::workers_started() {
  const std::vector<std::string> all = lines();
  return static_cast<int>(std::count_if(all.begin(), all.end(), [](const std::string& line) {
    return absl::StrContains(line, "worker started rank=");
  }));
}

}  // namespace pagoda::e2e
