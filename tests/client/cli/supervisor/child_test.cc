#include "client/cli/supervisor/child.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <thread>

#include "client/cli/supervisor/line_reader.h"
#include "tests/client/cli/supervisor/fake_programs.h"

namespace pagoda {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

bool WaitReadable(int fd) {
  pollfd readable{.fd = fd, .events = POLLIN};
  return poll(&readable, 1, 30000) == 1;
}

absl::StatusOr<std::unique_ptr<Child>> StartScript(const std::string& script) {
  return Child::Start({"/bin/bash", "-c", script, "name", "-an argument"});
}

TEST(Child, ItsOutputAndReportsComeThroughPipes) {
  auto child = StartScript("echo out $1; echo error >&2; echo report >&3");
  ASSERT_TRUE(child.ok()) << child.status();
  ASSERT_TRUE(WaitReadable((*child)->pidfd()));
  EXPECT_EQ((*child)->Wait(), "ended with status 0");
  EXPECT_TRUE((*child)->EndedWell(SIGTERM));
  LineReader output, status;
  EXPECT_THAT(output.Read((*child)->output()), ElementsAre("out -an argument", "error"));
  EXPECT_THAT(status.Read((*child)->status()), ElementsAre("report"));
  EXPECT_TRUE(output.at_end());
}

TEST(Child, ItsInputIsEmpty) {
  auto child = StartScript("cat; exit 7");
  ASSERT_TRUE(child.ok());
  EXPECT_EQ((*child)->Wait(), "ended with status 7");
  EXPECT_FALSE((*child)->EndedWell(SIGTERM));
}

TEST(Child, ASignalIsNamed) {
  auto child = StartScript("exec sleep 1000");
  ASSERT_TRUE(child.ok());
  (*child)->Signal(SIGTERM);
  EXPECT_EQ((*child)->Wait(), "was killed by signal 15 (Terminated)");
  EXPECT_TRUE((*child)->EndedWell(SIGTERM));
  EXPECT_FALSE((*child)->EndedWell(SIGKILL));
}

TEST(Child, SignalsBlockedOrIgnoredInTheParentReachIt) {
  sigset_t block, before;
  sigemptyset(&block);
  sigaddset(&block, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &block, &before);
  auto child = StartScript("exec sleep 1000");
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ASSERT_TRUE(child.ok());
  (*child)->Signal(SIGTERM);
  EXPECT_EQ((*child)->Wait(), "was killed by signal 15 (Terminated)");
}

TEST(Child, TheDestructorLeavesNoProcess) {
  auto child = StartScript("exec sleep 1000");
  ASSERT_TRUE(child.ok());
  const std::string pid = std::to_string((*child)->pid());
  EXPECT_TRUE(ProcessExists(pid));
  child->reset();
  EXPECT_FALSE(ProcessExists(pid));
}

TEST(Child, ItDiesWithTheThreadThatStartedIt) {
  std::unique_ptr<Child> child;
  std::thread([&child] {
    child = *StartScript("echo started; exec sleep 1000");
    EXPECT_TRUE(WaitReadable(child->output()));
  }).join();
  ASSERT_TRUE(WaitReadable(child->pidfd()));
  EXPECT_EQ(child->Wait(), "was killed by signal 9 (Killed)");
}

TEST(Child, ItLeadsAProcessGroupOfItsOwn) {
  auto child = StartScript("echo started; exec sleep 1000");
  ASSERT_TRUE(child.ok());
  ASSERT_TRUE(WaitReadable((*child)->output()));
  EXPECT_EQ(getpgid((*child)->pid()), (*child)->pid());
}

TEST(Child, AMissingProgramIsNamed) {
  const auto child = Child::Start({"/no/such/program"});
  EXPECT_EQ(child.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(child.status().message()),
              HasSubstr("cannot run /no/such/program: No such file or directory"));
}

}  // namespace
}  // namespace pagoda
