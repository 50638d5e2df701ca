// Deaths that a server survives, and deaths that end it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <memory>
#include <vector>

#include "tests/e2e/processes.h"
#include "tests/e2e/serve.h"
#include "tests/e2e/streams.h"

namespace pagoda::e2e {
namespace {

using ::testing::HasSubstr;

TEST(WorkerDeathTest, BeforeItWasReadyItEndsServe) {
  Serve serve;
  ASSERT_EQ(kill(serve.worker(), SIGKILL), 0);
  EXPECT_EQ(serve.Wait(), "ended with status 1");
  EXPECT_THAT(serve.log(),
              HasSubstr("the worker was killed by signal 9 (Killed), before it was ready"));
}

TEST(WorkerDeathTest, FiveInARowWithoutAStepEndServe) {
  Serve serve;
  serve.address();
  for (int life = 1; life <= 5; ++life) ASSERT_EQ(kill(serve.worker(life), SIGKILL), 0);
  EXPECT_EQ(serve.Wait(), "ended with status 1");
  EXPECT_EQ(serve.workers_started(), 5);
  EXPECT_THAT(serve.log(), HasSubstr("5 workers in a row died before one step"));
}

TEST(WorkerDeathTest, AHangIsNoticedAndHealedWithTheSameBytes) {
  Serve serve({"--step-timeout=2s"});
  const std::unique_ptr<Client> client = serve.Connect();
  const auto requests = SampledRequests(2, 60);
  const auto undisturbed = RunAll(client.get(), requests);
  bool stopped = false;
  const auto disturbed = RunAll(client.get(), requests, [&](size_t stream, const Delta& delta) {
    if (stream != 0 || stopped || delta.token_offset < 20) return;
    stopped = true;
    EXPECT_EQ(kill(serve.worker(), SIGSTOP), 0);
  });
  EXPECT_TRUE(stopped);
  ExpectSame(disturbed, undisturbed);
  EXPECT_EQ(serve.workers_started(), 2);
  EXPECT_THAT(serve.log(), HasSubstr("a step was not answered in time"));
}

TEST(WorkerDeathTest, ADeadCoordinatorEndsServe) {
  Serve serve;
  serve.address();
  ASSERT_EQ(kill(serve.coordinator(), SIGKILL), 0);
  EXPECT_EQ(serve.Wait(), "ended with status 1");
  EXPECT_THAT(serve.log(), HasSubstr("the coordinator was killed by signal 9 (Killed)"));
}

TEST(WorkerDeathTest, ADeadSupervisorLeavesNoOrphan) {
  Serve serve;
  serve.address();
  const pid_t worker = serve.worker();
  const pid_t coordinator = serve.coordinator();
  serve.Signal(SIGKILL);
  EXPECT_TRUE(WaitGone(worker));
  EXPECT_TRUE(WaitGone(coordinator));
}

}  // namespace
}  // namespace pagoda::e2e
