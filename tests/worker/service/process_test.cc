// The program pagoda-worker as a process: what it prints, how it reports, how it ends.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "tests/testing/plan_driver.h"
#include "tests/testing/tiny_model.h"
#include "tests/worker/service/worker_client.h"

namespace pagoda {
namespace {

using ::testing::HasSubstr;

// What a pipe gives until its other end is closed everywhere, or nothing comes for a minute.
std::string ReadAll(int fd) {
  std::string text;
  char bytes[4096];
  pollfd readable = {.fd = fd, .events = POLLIN, .revents = 0};
  while (poll(&readable, 1, 60'000) == 1) {
    const ssize_t count = read(fd, bytes, sizeof(bytes));
    if (count <= 0) break;
    text.append(bytes, static_cast<size_t>(count));
  }
  return text;
}

// A child with both standard streams in one pipe, killed with this object.
class Worker {
 public:
  // `inherited` is a descriptor that it may use besides; -1: none.
  explicit Worker(std::vector<std::string> args, int inherited = -1) {
    int output[2];
    CHECK_EQ(pipe2(output, O_CLOEXEC), 0);
    args.insert(args.begin(), PAGODA_WORKER);
    std::vector<char*> argv;
    for (std::string& arg : args) argv.push_back(arg.data());
    argv.push_back(nullptr);
    pid_ = fork();
    CHECK_GE(pid_, 0);
    if (pid_ == 0) {
      dup2(output[1], STDOUT_FILENO);
      dup2(output[1], STDERR_FILENO);
      if (inherited >= 0) fcntl(inherited, F_SETFD, 0);
      execv(argv[0], argv.data());
      _exit(127);
    }
    close(output[1]);
    output_ = output[0];
  }
  ~Worker() {
    if (pid_ > 0) {
      Signal(SIGKILL);
      Wait();
    }
    close(output_);
  }

  void Signal(int signal) { kill(pid_, signal); }
  // The exit code, or minus the signal that ended it.
  int Wait() {
    int status = 0;
    CHECK_EQ(waitpid(pid_, &status, 0), pid_);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  std::string Output() { return ReadAll(output_); }

 private:
  pid_t pid_;
  int output_;
};

TEST(ProcessTest, ShortAnswers) {
  Worker version({"--version"});
  EXPECT_THAT(version.Output(), HasSubstr("pagoda-worker 0."));
  EXPECT_EQ(version.Wait(), 0);
  Worker help({"--help"});
  EXPECT_THAT(help.Output(), HasSubstr("--listen ADDRESS"));
  EXPECT_EQ(help.Wait(), 0);
  Worker nothing({});
  EXPECT_THAT(nothing.Output(), HasSubstr("needs --listen"));
  EXPECT_EQ(nothing.Wait(), 2);
  Worker wrong({"--listen=0.0.0.0:0", "--connect=localhost:1"});
  EXPECT_THAT(wrong.Output(), HasSubstr("nobody can dial 0.0.0.0"));
  EXPECT_EQ(wrong.Wait(), 2);
}

TEST(ProcessTest, ProbeSaysWhetherAModelFits) {
  Worker demo({"--probe", "models/demo"});
  EXPECT_THAT(demo.Output(), HasSubstr("fits           yes"));
  EXPECT_EQ(demo.Wait(), 0);
  Worker nothing({"--probe", "models/nothing"});
  EXPECT_THAT(nothing.Output(), HasSubstr("models/nothing"));
  EXPECT_EQ(nothing.Wait(), 1);
}

TEST(ProcessTest, ReportsReadyAndItsFirstStepAndEndsCleanly) {
  const testing::TinyModel model;
  const std::string address = NewSocketAddress();
  int status[2];
  ASSERT_EQ(pipe2(status, O_CLOEXEC), 0);
  Worker worker({"--listen", address, "--status-fd", absl::StrCat(status[1])}, status[1]);
  close(status[1]);
  WorkerClient client(address);
  EXPECT_EQ(client.Health().state(), v1::HealthResponse::EMPTY);
  ASSERT_TRUE(client.Load(LoadRequest(model.path())).ok());
  ASSERT_TRUE(client.Configure(ConfigRequest(1)).ok());
  testing::PlanDriver driver(ConfigRequest(1), 16);
  driver.Add({1, 2, 3}, testing::Greedy(), 4);
  StepCall call(&client);
  ASSERT_TRUE(call.Open(1));
  ASSERT_TRUE(driver
                  .Run([&](const v1::Plan& plan, v1::StepResult* result) {
                    return call.Step(plan, result) ? absl::OkStatus() : absl::UnavailableError("");
                  })
                  .ok());
  worker.Signal(SIGTERM);
  EXPECT_EQ(worker.Wait(), 0);
  EXPECT_EQ(ReadAll(status[0]), "ready\nstep\n");
  close(status[0]);
  EXPECT_FALSE(call.Finish().ok());
}

TEST(ProcessTest, ASecondWorkerTakesTheSocketOfAKilledOne) {
  const std::string address = NewSocketAddress();
  Worker first({"--listen", address});
  WorkerClient(address).Health();
  Worker rival({"--listen", address});
  EXPECT_EQ(rival.Wait(), 1) << "the first is alive";
  EXPECT_THAT(rival.Output(), HasSubstr("another process listens"));
  first.Signal(SIGKILL);
  EXPECT_EQ(first.Wait(), -SIGKILL);
  Worker second({"--listen", address});
  EXPECT_EQ(WorkerClient(address).Health().state(), v1::HealthResponse::EMPTY);
}

// The supervisor here is a process between this test and the worker.
TEST(ProcessTest, DiesWithItsSupervisor) {
  const std::string address = NewSocketAddress();
  int status[2];
  int leash[2];
  ASSERT_EQ(pipe2(status, O_CLOEXEC), 0);
  ASSERT_EQ(pipe2(leash, O_CLOEXEC), 0);
  const std::string fd = absl::StrCat(status[1]);  // no allocation after fork
  const pid_t supervisor = fork();
  ASSERT_GE(supervisor, 0);
  if (supervisor == 0) {
    close(leash[1]);
    if (fork() == 0) {
      fcntl(status[1], F_SETFD, 0);
      execl(PAGODA_WORKER,
            PAGODA_WORKER,
            "--listen",
            address.c_str(),
            "--status-fd",
            fd.c_str(),
            nullptr);
      _exit(127);
    }
    char byte;
    _exit(static_cast<int>(read(leash[0], &byte, 1)));  // until the test lets go
  }
  close(status[1]);
  close(leash[0]);
  EXPECT_EQ(WorkerClient(address).Health().state(), v1::HealthResponse::EMPTY);
  close(leash[1]);
  int result = 0;
  ASSERT_EQ(waitpid(supervisor, &result, 0), supervisor);
  // The worker holds the only other end of the pipe.
  pollfd closed = {.fd = status[0], .events = POLLIN, .revents = 0};
  ASSERT_EQ(poll(&closed, 1, 60'000), 1) << "the worker lives on";
  EXPECT_TRUE(closed.revents & POLLHUP);
  close(status[0]);
}

TEST(ProcessTest, AStatusPipeWithoutAReaderIsNoSupervisor) {
  int status[2];
  ASSERT_EQ(pipe2(status, O_CLOEXEC), 0);
  close(status[0]);
  Worker worker({"--listen", NewSocketAddress(), "--status-fd", absl::StrCat(status[1])},
                status[1]);
  EXPECT_EQ(worker.Wait(), 1);
  EXPECT_THAT(worker.Output(), HasSubstr("no pipe to a living supervisor"));
  close(status[1]);
}

TEST(ProcessTest, AnAddressThatCannotBeHadIsSaidInOneLine) {
  Worker worker({"--listen", "unix:/no/such/folder/w.sock"});
  EXPECT_EQ(worker.Wait(), 1);
  EXPECT_THAT(worker.Output(), HasSubstr("cannot listen on unix:/no/such/folder/w.sock"));
}

}  // namespace
}  // namespace pagoda
