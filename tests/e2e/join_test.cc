// A group whose worker was started by hand: it announces itself and the coordinator dials.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/supervisor/child.h"
#include "client/cli/supervisor/line_reader.h"
#include "client/cpp/client.h"
#include "common/check.h"
#include "tests/e2e/processes.h"
#include "tests/e2e/streams.h"

namespace pagoda::e2e {
namespace {

std::unique_ptr<Child> Start(const std::vector<std::string>& argv) {
  auto child = Child::Start(argv);
  CHECK_OK(child);
  return *std::move(child);
}

// The end of the first line that has `text`, after it.
std::string WaitForLine(Child* child, LineReader* reader, const std::string& text) {
  while (true) {
    pollfd readable{.fd = child->output(), .events = POLLIN};
    CHECK_EQ(poll(&readable, 1, 30000), 1) << " no line with " << text;
    for (const std::string& line : reader->Read(child->output())) {
      const size_t at = line.find(text);
      if (at != std::string::npos) return line.substr(at + text.size());
    }
    CHECK(!reader->at_end()) << " ended without a line with " << text;
  }
}

TEST(JoinTest, AWorkerThatAnnouncesItselfIsDialledAgainWhereItComesBack) {
  const std::string model = "models/demo";
  const auto coordinator = Start({Program("pagoda-coordinator"), model, "--grpc-port=0"});
  LineReader reader;
  const std::string port =
      WaitForLine(coordinator.get(), &reader, "listening host=127.0.0.1 grpc_port=");
  const std::string address = "127.0.0.1:" + port;
  std::string folder = "/tmp/pagoda-join-XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const auto worker = [&](const std::string& socket) {
    return Start({Program("pagoda-worker"),
                  "--listen",
                  absl::StrCat("unix:", folder, "/", socket),
                  "--connect",
                  address});
  };
  const auto requests = SampledRequests(2, 20);
  std::vector<absl::StatusOr<Completion>> first;
  for (const char* socket : {"first", "second"}) {
    const auto process = worker(socket);
    WaitForLine(coordinator.get(), &reader, first.empty() ? "serving host=" : "worker announced");
    auto client = Client::Connect(address, kPatience);
    ASSERT_TRUE(client.ok()) << client.status();
    const auto completions = RunAll(client->get(), requests);
    if (first.empty()) first = completions;
    ExpectSame(completions, first);
    process->Signal(SIGKILL);
    process->Wait();
  }
  coordinator->Signal(SIGKILL);
  coordinator->Wait();
  for (const char* socket : {"/first", "/second"}) unlink((folder + socket).c_str());
  rmdir(folder.c_str());
}

}  // namespace
}  // namespace pagoda::e2e
