// Groups of several tensor-parallel workers: killed, stopped, on two hosts, and asked for nonsense.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "tests/e2e/processes.h"
#include "tests/e2e/progress.h"
#include "tests/e2e/serve.h"
#include "tests/e2e/streams.h"

namespace pagoda::e2e {
namespace {

using ::testing::HasSubstr;

constexpr size_t kStreams = 16;
// In which all streams must go on after a rank is lost.
constexpr absl::Duration kRecovery = absl::Seconds(20);

std::vector<absl::StatusOr<Completion>> AloneOnOneRank(
    const std::vector<GenerateRequest>& requests) {
  Serve one;
  return RunAll(one.Connect().get(), requests);
}

int Count(const std::vector<std::string>& lines, absl::string_view text) {
  return static_cast<int>(
      std::count_if(lines.begin(), lines.end(), [text](const std::string& line) {
        return absl::StrContains(line, text);
      }));
}

// Each rank in turn is killed, stopped for good, and stopped until it has been given up.
TEST(GroupTest, EachRankMayDieHangOrComeBackLateAndNoByteChanges) {
  const auto requests = SampledRequests(kStreams, 240);
  const auto expected = AloneOnOneRank(requests);
  Serve serve({"--tensor-parallel-size=2", "--step-timeout=2s"});
  const std::unique_ptr<Client> client = serve.Connect();
  Progress progress(kStreams);
  int lives[] = {1, 1};
  std::thread hand([&] {
    uint64_t point = 0;
    for (const int rank : {0, 1}) {
      for (const char* fate : {"kill", "stop", "pause"}) {
        progress.WaitForAll(point += kStreams * 30);
        const pid_t worker = serve.worker(lives[rank], rank);
        const int lost = Count(serve.lines(), "group lost");
        EXPECT_EQ(kill(worker, std::string(fate) == "kill" ? SIGKILL : SIGSTOP), 0);
        if (std::string(fate) == "pause") {
          // The epoch has been given up, and all ranks are asked whether they live.
          serve.WaitForLine("group lost", lost + 1);
          EXPECT_EQ(kill(worker, SIGCONT), 0);
        } else {
          ++lives[rank];
        }
        EXPECT_TRUE(progress.WaitForEach(progress.tokens(), kRecovery))
            << fate << " rank " << rank << "\n"
            << serve.log();
      }
    }
  });
  const auto got = RunAll(client.get(), requests, [&](size_t stream, const Delta& delta) {
    progress.Add(stream, delta.num_tokens);
  });
  hand.join();
  ExpectSame(got, expected);
  serve.Signal(SIGTERM);
  EXPECT_EQ(serve.Wait(), "ended with status 0");
}

// Two hosts: what `serve` starts on one address, and a worker that joins from another.
class TwoHosts {
 public:
  explicit TwoHosts(const std::string& port = "0")
      : serve_({"--tensor-parallel-size=2",
                "--local-workers=1",
                "--step-timeout=2s",
                "--comm-backend=gloo",
                "--comm-interface=127.0.0.1",
                absl::StrCat("--grpc-port=", port)}),
        port_(serve_.WaitForRest("host=127.0.0.1 grpc_port=")) {}

  // A worker on the other host, where relative paths begin in `folder`.
  std::unique_ptr<LoggedProcess> Join(int rank = 1, int size = 2, const std::string& folder = ".") {
    return std::make_unique<LoggedProcess>(
        std::vector<std::string>{"/usr/bin/env",
                                 absl::StrCat("--chdir=", folder),
                                 Program("pagoda-worker"),
                                 "--listen=127.0.0.2:0",
                                 absl::StrCat("--connect=127.0.0.1:", port_),
                                 absl::StrCat("--rank=", rank),
                                 absl::StrCat("--group-size=", size),
                                 "--comm-backend=gloo",
                                 "--comm-interface=127.0.0.2"});
  }

  Serve& serve() { return serve_; }
  const std::string& port() const { return port_; }

 private:
  Serve serve_;
  const std::string port_;  // of the coordinator
};

TEST(GroupTest, ARankOfAnotherHostMayDieAndAnotherTakeItsPlace) {
  const auto requests = SampledRequests(kStreams, 120);
  const auto expected = AloneOnOneRank(requests);
  TwoHosts hosts;
  auto far = hosts.Join();
  const std::unique_ptr<Client> client = hosts.serve().Connect();
  Progress progress(kStreams);
  std::vector<absl::StatusOr<Completion>> got;
  std::thread streams([&] {
    got = RunAll(client.get(), requests, [&](size_t stream, const Delta& delta) {
      progress.Add(stream, delta.num_tokens);
    });
  });
  // On this thread, which lives longer: a process dies with the thread that started it.
  progress.WaitForAll(kStreams * 30);
  far->Signal(SIGKILL);
  EXPECT_EQ(far->Wait(), "was killed by signal 9 (Killed)");
  far = hosts.Join();
  EXPECT_TRUE(progress.WaitForEach(progress.tokens(), kRecovery)) << hosts.serve().log();
  // And one of this host, which is started again by itself.
  progress.WaitForAll(kStreams * 60);
  EXPECT_EQ(kill(hosts.serve().worker(), SIGKILL), 0);
  EXPECT_TRUE(progress.WaitForEach(progress.tokens(), kRecovery)) << hosts.serve().log();
  // One that hangs there can only be replaced by another that joins.
  progress.WaitForAll(kStreams * 90);
  far->Signal(SIGSTOP);
  hosts.serve().WaitForLine("worker does not answer");
  const auto other = hosts.Join();
  EXPECT_TRUE(progress.WaitForEach(progress.tokens(), kRecovery)) << hosts.serve().log();
  // When it comes back it learns that its place is taken.
  far->Signal(SIGCONT);
  EXPECT_EQ(far->Wait(), "ended with status 1");
  EXPECT_THAT(far->lines().back(), HasSubstr("rank 1 is taken by the worker at 127.0.0.2:"));
  streams.join();
  ExpectSame(got, expected);
}

TEST(GroupTest, AFarRankFindsTheNextCoordinator) {
  const auto requests = SampledRequests(4, 60);
  auto hosts = std::make_unique<TwoHosts>();
  const std::string port = hosts->port();
  const auto far = hosts->Join();
  const auto expected = RunAll(hosts->serve().Connect().get(), requests);
  hosts->serve().Signal(SIGKILL);
  hosts->serve().Wait();
  hosts = std::make_unique<TwoHosts>(port);
  ExpectSame(RunAll(hosts->serve().Connect().get(), requests), expected);
}

// What is written to a port by somebody who does not speak its protocol.
void SendGarbage(const std::string& address) {
  int port = 0;
  CHECK(absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port)) << address;
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(static_cast<uint16_t>(port))};
  to.sin_addr.s_addr = htonl(0x7f000002);
  CHECK_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof(to)), 0);
  const std::string garbage(100000, '\xfe');
  EXPECT_GT(send(fd, garbage.data(), garbage.size(), MSG_NOSIGNAL), 0);
  close(fd);
}

TEST(GroupTest, WorkersThatCannotJoinSayWhyAndTheGroupGoesOn) {
  const auto requests = SampledRequests(4, 60);
  TwoHosts hosts;
  const auto far = hosts.Join();
  const std::unique_ptr<Client> client = hosts.serve().Connect();
  const auto expected = RunAll(client.get(), requests);
  const struct {
    int rank, size;
    const char* reason;
  } kRefused[] = {{1, 2, "rank 1 is taken by the worker at 127.0.0.2:"},
                  {0, 2, "rank 0 is taken by the worker at unix:"},
                  {1, 4, "the worker is of a group of 4 ranks, this one has 2"}};
  for (const auto& refused : kRefused) {
    const auto worker = hosts.Join(refused.rank, refused.size);
    EXPECT_EQ(worker->Wait(), "ended with status 1");
    EXPECT_THAT(worker->lines().back(), HasSubstr(refused.reason));
  }
  SendGarbage(far->WaitForRest("worker listens address="));
  ExpectSame(RunAll(client.get(), requests), expected);
  EXPECT_EQ(hosts.serve().workers_started(), 1);
}

// The model's directory, with one bit of its weights changed.
class ChangedModel {
 public:
  ChangedModel() {
    CHECK(mkdtemp(folder_.data()) != nullptr);
    const std::filesystem::path model = std::filesystem::path(folder_) / kModel;
    std::filesystem::create_directories(model.parent_path());
    std::filesystem::copy(kModel, model, std::filesystem::copy_options::recursive);
    std::fstream weights(model / "model.safetensors",
                         std::ios::in | std::ios::out | std::ios::binary);
    weights.seekg(-1, std::ios::end);
    const char last = static_cast<char>(weights.get() ^ 1);
    weights.seekp(-1, std::ios::end);
    weights.put(last);
  }
  ~ChangedModel() { std::filesystem::remove_all(folder_); }

  const std::string& folder() const { return folder_; }

 private:
  std::string folder_ = "/tmp/pagoda-changed-XXXXXX";
};

TEST(GroupTest, AWorkerWithAnotherModelIsRefusedAndTheRightOneAwaited) {
  const ChangedModel changed;
  const auto requests = SampledRequests(4, 60);
  TwoHosts hosts;
  auto far = hosts.Join();
  const std::unique_ptr<Client> client = hosts.serve().Connect();
  const auto expected = RunAll(client.get(), requests);
  far->Signal(SIGKILL);
  far->Wait();
  const auto wrong = hosts.Join(1, 2, changed.folder());
  EXPECT_THAT(hosts.serve().WaitForLine("worker refused"),
              HasSubstr("the worker came back with another model, dtype or version"));
  far = hosts.Join();
  ExpectSame(RunAll(client.get(), requests), expected);
}

TEST(GroupTest, WhatCannotBeAGroupIsRefusedByNameAtStart) {
  const struct {
    std::vector<std::string> flags;
    int status;
    const char* reason;
  } kRefused[] = {
      {{"--tensor-parallel-size=8"}, 1, "has 4 attention heads; sizes that work: 1, 2, 4"},
      {{"--tensor-parallel-size=3"}, 1, "has 1, 2, 4 or 8 ranks; sizes that work: 1, 2, 4"},
      {{"--tensor-parallel-size=9"}, 2, "9"},
      {{"--tensor-parallel-size=2", "--local-workers=3"}, 2, "--local-workers is 3"},
      {{"--tensor-parallel-size=2", "--comm-backend=gloo", "--comm-interface=nonsense0"},
       1,
       "neither a network interface of this host nor one of its addresses"}};
  for (const auto& refused : kRefused) {
    std::vector<std::string> args = {"serve", kModel, "--grpc-port=0"};
    args.insert(args.end(), refused.flags.begin(), refused.flags.end());
    const Outcome outcome = RunPagoda(args);
    EXPECT_EQ(outcome.end, absl::StrCat("ended with status ", refused.status));
    EXPECT_THAT(outcome.err, HasSubstr(refused.reason));
    EXPECT_FALSE(outcome.left_processes);
  }
}

TEST(GroupTest, AWorkerWithoutAPlaceInAGroupIsRefused) {
  const std::string worker = Program("pagoda-worker");
  const Outcome beyond = RunProgram({worker, "--listen=127.0.0.1:0", "--rank=2", "--group-size=2"});
  EXPECT_EQ(beyond.end, "ended with status 2");
  EXPECT_THAT(beyond.err, HasSubstr("rank 2 of a group of 2"));
  const Outcome nonsense =
      RunProgram({"/usr/bin/env", "LWS_WORKER_INDEX=one", worker, "--listen=127.0.0.1:0"});
  EXPECT_EQ(nonsense.end, "ended with status 2");
  EXPECT_THAT(nonsense.err, HasSubstr("LWS_WORKER_INDEX is \"one\", expected 0 to 8"));
  LoggedProcess first({worker, "--listen=127.0.0.1:0"});
  const std::string taken = first.WaitForRest("worker listens address=");
  const Outcome second = RunProgram({worker, absl::StrCat("--listen=", taken)});
  EXPECT_EQ(second.end, "ended with status 1");
  EXPECT_THAT(second.err, HasSubstr(absl::StrCat("cannot listen on ", taken)));
}

}  // namespace
}  // namespace pagoda::e2e
