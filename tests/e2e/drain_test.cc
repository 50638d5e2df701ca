// The end of a server that is told to stop.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/e2e/processes.h"
#include "tests/e2e/serve.h"
#include "tests/e2e/streams.h"

namespace pagoda::e2e {
namespace {

using ::testing::HasSubstr;

// Long enough to be still under way when anything else is done.
GenerateRequest Long() { return SampledRequests(1, 900)[0]; }

// Started, with its first token read.
std::unique_ptr<Generation> StartLong(Client* client) {
  auto generation = client->Start(Long());
  EXPECT_TRUE(generation.ok()) << generation.status();
  while (const std::optional<Event> event = (*generation)->Next()) {
    if (std::holds_alternative<Delta>(*event)) return *std::move(generation);
  }
  ADD_FAILURE() << (*generation)->status();
  return nullptr;
}

// Reads to the end; the tokens of the whole answer.
uint32_t Drain(Generation* generation) {
  uint32_t tokens = 0;
  while (const std::optional<Event> event = generation->Next()) {
    if (const auto* finished = std::get_if<Finished>(&*event)) tokens = finished->completion_tokens;
  }
  return tokens;
}

TEST(DrainTest, SigtermLetsStreamsFinishAndRefusesNewOnes) {
  Serve serve;
  const std::unique_ptr<Client> client = serve.Connect();
  const std::unique_ptr<Generation> stream = StartLong(client.get());
  serve.Signal(SIGTERM);
  serve.WaitForLine("draining");
  // The log line comes shortly before the entrance closes: until then requests are still taken.
  const GenerateRequest brief = SampledRequests(1, 1)[0];
  absl::Status refused = client->Generate(brief).status();
  while (refused.ok()) refused = client->Generate(brief).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnavailable) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("drain"));  // no broken connection
  EXPECT_EQ(Drain(stream.get()), 900u);
  EXPECT_EQ(stream->status(), absl::OkStatus());
  EXPECT_EQ(serve.Wait(), "ended with status 0");
}

TEST(DrainTest, AWorkerThatDiesWhileDrainingIsStillReplaced) {
  Serve serve;
  const std::unique_ptr<Client> client = serve.Connect();
  const std::unique_ptr<Generation> stream = StartLong(client.get());
  serve.Signal(SIGTERM);
  serve.WaitForLine("draining");
  ASSERT_EQ(kill(serve.worker(), SIGKILL), 0);
  EXPECT_EQ(Drain(stream.get()), 900u);
  EXPECT_EQ(serve.Wait(), "ended with status 0");
  EXPECT_EQ(serve.workers_started(), 2);
}

TEST(DrainTest, ASecondSignalEndsItAtOnce) {
  Serve serve;
  const std::unique_ptr<Client> client = serve.Connect();
  const std::unique_ptr<Generation> stream = StartLong(client.get());
  // Nothing can finish now, so only the second signal ends it.
  ASSERT_EQ(kill(serve.worker(), SIGSTOP), 0);
  serve.Signal(SIGINT);
  serve.WaitForLine("draining");
  // Signals that come together would count once.
  ASSERT_FALSE(WaitGone(serve.pid(), absl::Milliseconds(400)));
  serve.Signal(SIGINT);
  EXPECT_EQ(serve.Wait(), "ended with status 1");
  EXPECT_EQ(Drain(stream.get()), 0u);
  EXPECT_EQ(stream->status().code(), absl::StatusCode::kUnavailable);
}

TEST(DrainTest, ASignalBeforeItServesEndsItToo) {
  Serve serve;
  serve.WaitForLine("coordinator started");
  serve.Signal(SIGTERM);
  EXPECT_EQ(serve.Wait(), "ended with status 0");
}

TEST(DrainTest, TheSocketsDirectoryIsRemoved) {
  Serve serve;
  serve.address();
  const std::string line = serve.WaitForLine("worker listens address=unix:");
  const size_t from = line.find("/tmp/");
  const std::string directory = line.substr(from, line.rfind('/') - from);
  EXPECT_TRUE(std::filesystem::exists(directory)) << line;
  serve.Signal(SIGTERM);
  EXPECT_EQ(serve.Wait(), "ended with status 0");
  EXPECT_FALSE(std::filesystem::exists(directory));
}

TEST(DrainTest, LogLinesCanBeJson) {
  Serve serve({"--log-format=json"});
  const std::string line = serve.WaitForLine("\"message\":\"serving on 127.0.0.1:");
  EXPECT_THAT(line, HasSubstr("\"process\":\"pagoda\""));
  serve.Signal(SIGTERM);
  EXPECT_EQ(serve.Wait(), "ended with status 0");
}

}  // namespace
}  // namespace pagoda::e2e
