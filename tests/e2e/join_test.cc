// A group whose worker was started by hand: it announces itself and the coordinator dials.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cpp/client.h"
#include "tests/e2e/logged_process.h"
#include "tests/e2e/processes.h"
#include "tests/e2e/streams.h"

namespace pagoda::e2e {
namespace {

TEST(JoinTest, AWorkerThatAnnouncesItselfIsDialledAgainWhereItComesBack) {
  const std::string model = "models/demo";
  LoggedProcess coordinator({Program("pagoda-coordinator"), model, "--grpc-port=0"});
  const std::string port = coordinator.WaitForRest("listening host=127.0.0.1 grpc_port=");
  const std::string address = "127.0.0.1:" + port;
  std::string folder = "/tmp/pagoda-join-XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const auto worker = [&](const std::string& socket) {
    return std::make_unique<LoggedProcess>(
        std::vector<std::string>{Program("pagoda-worker"),
                                 "--listen",
                                 absl::StrCat("unix:", folder, "/", socket),
                                 "--connect",
                                 address});
  };
  const auto requests = SampledRequests(2, 20);
  std::vector<absl::StatusOr<Completion>> first;
  for (const char* socket : {"first", "second"}) {
    const auto process = worker(socket);
    coordinator.WaitForRest(first.empty() ? "serving host=" : "worker announced",
                            first.empty() ? 1 : 2);
    auto client = Client::Connect(address, kPatience);
    ASSERT_TRUE(client.ok()) << client.status();
    const auto completions = RunAll(client->get(), requests);
    if (first.empty()) first = completions;
    ExpectSame(completions, first);
    process->Signal(SIGKILL);
    process->Wait();
  }
  for (const char* socket : {"/first", "/second"}) unlink((folder + socket).c_str());
  rmdir(folder.c_str());
}

}  // namespace
}  // namespace pagoda::e2e
