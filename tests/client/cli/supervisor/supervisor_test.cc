#include "client/cli/supervisor/supervisor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "tests/client/cli/supervisor/fake_programs.h"

namespace pagoda {
namespace {

using ::testing::ContainsRegex;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// Each is ready before it says who it is: a test that has read the latter may kill it.
constexpr char kStays[] = "echo ready >&3; echo worker $$; exec sleep 1000";
constexpr char kServes[] = "echo ready 4711 >&3; echo coordinator $$; exec sleep 1000";
// Answers SIGTERM by finishing what it has.
constexpr char kDrains[] =
    "trap 'echo drained >$dir/drained; exit 0' TERM\n"
    "echo coordinator $$; echo ready 4711 >&3; while :; do sleep 0.05; done";

TEST(Supervisor, ServesUntilToldToStopAndLeavesNoProcess) {
  FakePrograms programs;
  programs.Worker(kStays);
  programs.Coordinator(kDrains);
  RunningSupervisor running(programs);
  const auto address = running->WaitUntilServing();
  ASSERT_TRUE(address.ok()) << address.status();
  EXPECT_EQ(*address, "127.0.0.1:4711");
  const std::string worker = running.WaitForLine("worker ");
  const std::string coordinator = running.WaitForLine("coordinator ");
  EXPECT_TRUE(ProcessExists(worker));
  running->Stop();
  EXPECT_EQ(running.Join(), absl::OkStatus());
  EXPECT_EQ(programs.Read("drained"), "drained\n");
  EXPECT_FALSE(ProcessExists(worker));
  EXPECT_FALSE(ProcessExists(coordinator));
}

TEST(Supervisor, GivesEachProgramItsFlagsAndOneSocket) {
  FakePrograms programs;
  programs.Worker("printf '%s\\n' \"worker has\" \"$@\"; echo done; exec sleep 1000");
  programs.Coordinator("printf '%s\\n' \"$@\" >$dir/flags; echo ready 1 >&3; exec sleep 1000");
  RunningSupervisor running(programs);
  ASSERT_TRUE(running->WaitUntilServing().ok());
  running.WaitForLine("done");
  const std::string socket = running.WaitForLine("--listen=unix:");
  EXPECT_THAT(socket, ContainsRegex("^/tmp/pagoda-[^/]+/worker-0.sock$"));
  EXPECT_EQ(running.WaitForLine("--cpu-isa="), "auto");
  EXPECT_EQ(running.WaitForLine("--status-fd="), "3");
  const std::string flags = programs.Read("flags");
  EXPECT_THAT(flags, StartsWith(absl::StrCat("--status-fd=3\n--worker=unix:", socket, "\n")));
  EXPECT_THAT(flags, HasSubstr("--block-size=16\n"));
  EXPECT_THAT(flags, EndsWith("--\n-a model\n"));
}

TEST(Supervisor, TheSocketsDirectoryIsPrivateAndIsRemoved) {
  FakePrograms programs;
  programs.Worker("echo $1; exec sleep 1000");
  programs.Coordinator(kServes);
  RunningSupervisor running(programs);
  const std::string socket = running.WaitForLine("--listen=unix:");
  const std::filesystem::path directory = std::filesystem::path(socket).parent_path();
  struct stat info = {};
  ASSERT_EQ(stat(directory.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0700u);
  running->Stop();
  EXPECT_EQ(running.Join(), absl::OkStatus());
  EXPECT_FALSE(std::filesystem::exists(directory));
}

TEST(Supervisor, ProgramsInheritNoDescriptorButTheirOwn) {
  FakePrograms programs;
  programs.Worker("ls -l /proc/$$/fd | grep -o '[0-9]* -> .*'; echo done; exec sleep 1000");
  programs.Coordinator(kServes);
  RunningSupervisor running(programs);
  running.WaitForLine("done");
  EXPECT_EQ(running.WaitForLine("0 -> "), "/dev/null");
  EXPECT_THAT(running.WaitForLine("1 -> "), StartsWith("pipe:"));
  EXPECT_THAT(running.WaitForLine("2 -> "), StartsWith("pipe:"));
  EXPECT_THAT(running.WaitForLine("3 -> "), StartsWith("pipe:"));
  // 255 is bash's own, the script.
  EXPECT_THAT(running.WaitForLine("255 -> "), EndsWith("/pagoda-worker"));
}

TEST(Supervisor, AWorkerThatWasNeverReadyEndsItWithTheWorkersOwnError) {
  FakePrograms programs;
  programs.Worker(
      "echo '2026-01-31T12:00:00.123456Z E worker this CPU has no avx512' >&2\n"
      "echo '2026-01-31T12:00:00.123457Z I worker bye' >&2; exit 1");
  programs.Coordinator("echo coordinator $$; exec sleep 1000");
  RunningSupervisor running(programs);
  const auto address = running->WaitUntilServing();
  EXPECT_EQ(address.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(running.Join().message(),
            "the worker ended with status 1: this CPU has no avx512, before it was ready");
}

TEST(Supervisor, AWorkerThatWasReadyIsReplacedAtTheSameAddress) {
  FakePrograms programs;
  programs.Worker(
      "echo address $1; echo ready >&3; echo step >&3; echo worker $$; exec sleep 1000");
  programs.Coordinator(kServes);
  RunningSupervisor running(programs);
  ASSERT_TRUE(running->WaitUntilServing().ok());
  std::string dead;
  for (int life = 1; life <= 2 * Supervisor::kMaxDeaths; ++life) {
    const std::string pid = running.WaitForLine("worker ", life);
    EXPECT_NE(pid, dead);
    EXPECT_EQ(kill(std::stoi(pid), SIGKILL), 0);
    dead = pid;
  }
  EXPECT_EQ(running.WaitForLine("address ", 2), running.WaitForLine("address ", 1));
  running.WaitForLine("worker ", 2 * Supervisor::kMaxDeaths + 1);
  running->Stop();
  EXPECT_EQ(running.Join(), absl::OkStatus());
}

TEST(Supervisor, FiveDeathsWithoutAStepEndIt) {
  FakePrograms programs;
  programs.Worker("echo worker $$; echo ready >&3; exit 3");
  programs.Coordinator("echo coordinator $$; echo ready 1 >&3; exec sleep 1000");
  RunningSupervisor running(programs);
  EXPECT_EQ(running.Join().message(),
            "5 workers in a row died before one step; the worker ended with status 3: worker " +
                running.WaitForLine("worker ", Supervisor::kMaxDeaths));
  EXPECT_FALSE(ProcessExists(running.WaitForLine("coordinator ")));
}

TEST(Supervisor, ACompletedStepForgivesEarlierDeaths) {
  FakePrograms programs;
  // The fourth and the eighth life complete a step; the last five deaths are 8 to 12.
  programs.Worker(
      "echo life >>$dir/lives; n=$(wc -l <$dir/lives); echo worker $n; echo ready >&3\n"
      "[ $n = 4 -o $n = 8 ] && echo step >&3; exit 3");
  programs.Coordinator(kServes);
  RunningSupervisor running(programs);
  EXPECT_THAT(std::string(running.Join().message()), StartsWith("5 workers in a row"));
  running.WaitForLine("worker 12");
  EXPECT_EQ(programs.Read("lives").size(), 12 * std::string("life\n").size());
}

TEST(Supervisor, ADeadCoordinatorEndsItWithTheCoordinatorsOwnError) {
  FakePrograms programs;
  programs.Worker(kStays);
  programs.Coordinator(
      "echo '{\"time\":\"x\",\"severity\":\"ERROR\",\"message\":\"port 1 is taken\"}' >&2\n"
      "echo '{\"time\":\"x\",\"severity\":\"INFO\",\"message\":\"bye\"}' >&2; exit 1");
  RunningSupervisor running(programs);
  EXPECT_EQ(running.Join().message(),
            "the coordinator ended with status 1: "
            "{\"time\":\"x\",\"severity\":\"ERROR\",\"message\":\"port 1 is taken\"}");
}

TEST(Supervisor, ACoordinatorThatLeavesUntoldIsAnErrorEvenWithStatusZero) {
  FakePrograms programs;
  programs.Worker(kStays);
  programs.Coordinator("echo ready 1 >&3; exit 0");
  RunningSupervisor running(programs);
  EXPECT_EQ(running.Join().message(), "the coordinator ended with status 0");
}

TEST(Supervisor, ASuspectWorkerIsKilledEvenWhenStopped) {
  FakePrograms programs;
  programs.Worker("echo ready >&3; echo worker $$; exec sleep 1000");
  programs.Coordinator(
      "echo ready 1 >&3; trap 'echo suspect 0 it does not answer >&3' USR1\n"
      "echo coordinator $$; while :; do sleep 0.05; done");
  RunningSupervisor running(programs);
  const std::string first = running.WaitForLine("worker ");
  const std::string coordinator = running.WaitForLine("coordinator ");
  ASSERT_EQ(kill(std::stoi(first), SIGSTOP), 0);
  ASSERT_EQ(kill(std::stoi(coordinator), SIGUSR1), 0);
  EXPECT_NE(running.WaitForLine("worker ", 2), first);
  EXPECT_FALSE(ProcessExists(first));
}

// Says which rank it is, by its socket.
constexpr char kRank[] =
    "rank=${1%.sock}; rank=${rank##*-}; echo ready >&3; echo step >&3; echo rank $rank $$\n"
    "echo threads $rank $(printf '%s\\n' \"$@\" | grep -- --threads=); exec sleep 1000";

TEST(Supervisor, StartsAWorkerForEachRankAndDividesTheCpus) {
  FakePrograms programs;
  programs.Worker(kRank);
  programs.Coordinator("printf '%s\n' \"$@\" >$dir/flags; echo ready 1 >&3; exec sleep 1000");
  RunningSupervisor running(programs, 4, 0);
  ASSERT_TRUE(running->WaitUntilServing().ok());
  const std::string threads = absl::StrCat("--threads=", std::max(1, CpuLimit() / 4));
  for (int rank = 0; rank < 4; ++rank) {
    EXPECT_EQ(running.WaitForLine(absl::StrCat("threads ", rank, " ")), threads);
    EXPECT_NE(programs.Read("flags").find(absl::StrCat("/worker-", rank, ".sock\n")),
              std::string::npos);
  }
  EXPECT_THAT(programs.Read("flags"), HasSubstr("--tensor-parallel-size=4\n"));
}

TEST(Supervisor, OnlyTheRankThatDiedIsReplaced) {
  FakePrograms programs;
  programs.Worker(kRank);
  programs.Coordinator(kServes);
  RunningSupervisor running(programs, 2, 0);
  const std::string first = running.WaitForLine("rank 0 "), second = running.WaitForLine("rank 1 ");
  ASSERT_EQ(kill(std::stoi(second), SIGKILL), 0);
  EXPECT_NE(running.WaitForLine("rank 1 ", 2), second);
  EXPECT_TRUE(ProcessExists(first));
  running->Stop();
  EXPECT_EQ(running.Join(), absl::OkStatus());
  EXPECT_FALSE(ProcessExists(first));
}

TEST(Supervisor, ARankThatWasNeverReadyEndsItByName) {
  FakePrograms programs;
  programs.Worker("case $1 in *-1.sock) exit 7;; esac; echo ready >&3; exec sleep 1000");
  programs.Coordinator("exec sleep 1000");
  RunningSupervisor running(programs, 2, 0);
  EXPECT_EQ(running.Join().message(),
            "the worker of rank 1 ended with status 7, before it was ready");
}

TEST(Supervisor, ASuspectRankIsKilledAndOneOfAnotherHostIsNot) {
  FakePrograms programs;
  programs.Worker(kRank);
  programs.Coordinator(
      "echo ready 1 >&3; trap 'echo suspect 2 of another host >&3; echo suspect x y >&3\n"
      "echo suspect 1 it does not answer >&3' USR1\n"
      "echo coordinator $$; while :; do sleep 0.05; done");
  RunningSupervisor running(programs, 4, 2);
  const std::string first = running.WaitForLine("rank 0 "), second = running.WaitForLine("rank 1 ");
  ASSERT_EQ(kill(std::stoi(running.WaitForLine("coordinator ")), SIGUSR1), 0);
  EXPECT_NE(running.WaitForLine("rank 1 ", 2), second);
  EXPECT_TRUE(ProcessExists(first));
}

TEST(Supervisor, ASecondStopEndsAtOnce) {
  FakePrograms programs;
  programs.Worker(kStays);
  programs.Coordinator(
      "trap 'echo busy' TERM; echo coordinator $$; echo ready 1 >&3\n"
      "while :; do sleep 0.05; done");
  RunningSupervisor running(programs);
  const std::string coordinator = running.WaitForLine("coordinator ");
  running->Stop();
  running.WaitForLine("busy");
  EXPECT_TRUE(ProcessExists(coordinator));
  running->Stop();
  EXPECT_EQ(running.Join().code(), absl::StatusCode::kCancelled);
  EXPECT_FALSE(ProcessExists(coordinator));
}

TEST(Supervisor, WithoutDrainOneStopIsEnough) {
  FakePrograms programs;
  programs.Worker(kStays);
  programs.Coordinator("trap '' TERM; echo ready 1 >&3; while :; do sleep 0.05; done");
  RunningSupervisor running(programs, /*drain=*/false);
  ASSERT_TRUE(running->WaitUntilServing().ok());
  running->Stop();
  EXPECT_EQ(running.Join(), absl::OkStatus());
}

TEST(Supervisor, AMissingProgramIsNamed) {
  FakePrograms programs;
  programs.Worker(kStays);
  RunningSupervisor running(programs);
  const absl::Status status = running.Join();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("/pagoda-coordinator: No such file"));
  EXPECT_EQ(running->WaitUntilServing().status(), status);
}

}  // namespace
}  // namespace pagoda
