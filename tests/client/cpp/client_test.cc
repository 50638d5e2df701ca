#include "client/cpp/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/client/cpp/fake_server.h"

namespace pagoda {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr absl::Duration kPatience = absl::Seconds(30);

std::unique_ptr<Client> Connect(const FakeServer& server) {
  auto client = Client::Connect(server.address(), kPatience);
  EXPECT_TRUE(client.ok()) << client.status();
  return *std::move(client);
}

// A server whose Generate writes these and answers `end`.
FakeServer::Generate Writes(std::vector<v1::GenerateResponse> responses,
                            absl::Status end = absl::OkStatus()) {
  return [responses, end](const v1::GenerateRequest&, const FakeServer::Write& write, auto) {
    for (const v1::GenerateResponse& response : responses) write(response);
    return end;
  };
}

absl::Status GenerateStatus(FakeServer::Generate generate) {
  const FakeServer server(std::move(generate));
  return Connect(server)->Generate({.prompt = "p"}).status();
}

TEST(Client, AGenerationIsCollectedAndEveryPieceShownAsItComes) {
  const FakeServer server(Writes({AcceptedResponse(),
                                  DeltaResponse(0, 0, {5}, "Hé"),
                                  DeltaResponse(1, 3, {6, 7}, ""),
                                  DeltaResponse(3, 3, {8}, "llo"),
                                  FinishedResponse(v1::FINISH_REASON_STOP, 4)}));
  std::vector<std::string> pieces;
  const auto completion = Connect(server)->Generate({.prompt = "p"}, [&pieces](const Delta& delta) {
    pieces.push_back(delta.text);
  });
  ASSERT_TRUE(completion.ok()) << completion.status();
  EXPECT_THAT(pieces, ElementsAre("Hé", "", "llo"));
  EXPECT_EQ(completion->accepted.id, "req-1");
  EXPECT_EQ(completion->accepted.seed, ~uint64_t{0});
  EXPECT_EQ(completion->accepted.system_fingerprint, "fp");
  ASSERT_EQ(completion->choices.size(), 1u);
  EXPECT_EQ(completion->choices[0].text, "Héllo");
  EXPECT_THAT(completion->choices[0].token_ids, ElementsAre(5, 6, 7, 8));
  EXPECT_EQ(completion->choices[0].reason, FinishReason::kStop);
  EXPECT_EQ(completion->choices[0].completion_tokens, 4u);
  EXPECT_EQ(completion->prompt_tokens, 3u);
  EXPECT_EQ(completion->completion_tokens, 4u);
}

TEST(Client, AnErrorOfTheServerKeepsItsCodeAndMessage) {
  EXPECT_EQ(GenerateStatus(Writes({}, absl::InvalidArgumentError("temperature is nan"))),
            absl::InvalidArgumentError("temperature is nan"));
  EXPECT_EQ(GenerateStatus(Writes({AcceptedResponse()}, absl::ResourceExhaustedError("full"))),
            absl::ResourceExhaustedError("full"));
}

TEST(Client, AStreamWithAGapIsDataLoss) {
  const absl::Status tokens =
      GenerateStatus(Writes({DeltaResponse(0, 0, {5}, "a"), DeltaResponse(2, 1, {6}, "b")}));
  EXPECT_EQ(tokens.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(tokens.message()), HasSubstr("at token 1, byte 1 comes token 2, byte 1"));
  const absl::Status bytes =
      GenerateStatus(Writes({DeltaResponse(0, 0, {5}, "a"), DeltaResponse(1, 0, {6}, "b")}));
  EXPECT_EQ(bytes.code(), absl::StatusCode::kDataLoss);
}

TEST(Client, AChoiceThatWasNotAskedForIsDataLoss) {
  v1::GenerateResponse second = DeltaResponse(0, 0, {5}, "a");
  second.mutable_delta()->set_index(1);
  EXPECT_EQ(GenerateStatus(Writes({second})).code(), absl::StatusCode::kDataLoss);
  v1::GenerateResponse finished = FinishedResponse(v1::FINISH_REASON_STOP, 1);
  finished.mutable_finished()->mutable_choices(0)->set_index(4000000000);
  EXPECT_EQ(GenerateStatus(Writes({finished})).code(), absl::StatusCode::kDataLoss);
}

TEST(Client, AnEndWithoutTheLastMessageIsAnError) {
  EXPECT_EQ(GenerateStatus(Writes({AcceptedResponse(), DeltaResponse(0, 0, {5}, "a")})).code(),
            absl::StatusCode::kInternal);
}

TEST(Client, TextThatIsNotUtf8IsRefusedBeforeItIsSent) {
  std::atomic<int> calls = 0;
  const FakeServer server([&calls](const v1::GenerateRequest&, const FakeServer::Write&, auto) {
    ++calls;
    return absl::OkStatus();
  });
  const auto client = Connect(server);
  EXPECT_EQ(client->Generate({.prompt = "h\xC3\xA9llo \xFF!"}).status(),
            absl::InvalidArgumentError("the prompt is not UTF-8: byte 0xFF at offset 7"));
  EXPECT_EQ(client->Generate({.prompt = "p", .stop = {"\xED\xA0\x80"}}).status(),
            absl::InvalidArgumentError("a stop string is not UTF-8: byte 0xED at offset 0"));
  EXPECT_EQ(client->Tokenize("\x80").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(client->Cancel("\x80").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(calls, 0);
}

// Writes one delta and goes on until the client is gone.
absl::Status RunsOn(const v1::GenerateRequest&,
                    const FakeServer::Write& write,
                    const std::function<bool()>& cancelled) {
  write(DeltaResponse(0, 0, {5}, "a"));
  while (!cancelled()) std::this_thread::yield();
  return absl::CancelledError("the client is gone");
}

TEST(Client, ATimeoutEndsTheGeneration) {
  const FakeServer server(RunsOn);
  const auto completion =
      Connect(server)->Generate({.prompt = "p", .timeout = absl::Milliseconds(50)});
  EXPECT_EQ(completion.status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST(Client, AGenerationCanBeCancelledFromAnotherThread) {
  const FakeServer server(RunsOn);
  const auto client = Connect(server);
  auto generation = client->Start({.prompt = "p"});
  ASSERT_TRUE(generation.ok());
  ASSERT_TRUE((*generation)->Next().has_value());
  std::thread other([&generation] { (*generation)->Cancel(); });
  EXPECT_FALSE((*generation)->Next().has_value());
  EXPECT_EQ((*generation)->status().code(), absl::StatusCode::kCancelled);
  other.join();
}

TEST(Client, AGenerationThatIsDroppedIsCancelled) {
  std::atomic<bool> ended = false;
  {
    const FakeServer server([&ended](const auto& request, const auto& write, auto cancelled) {
      const absl::Status status = RunsOn(request, write, cancelled);
      ended = true;
      return status;
    });
    std::unique_ptr<Client> client = Connect(server);
    auto generation = client->Start({.prompt = "p"});
    ASSERT_TRUE(generation.ok());
    ASSERT_TRUE((*generation)->Next().has_value());
    client.reset();  // the generation does not need it
    generation->reset();
  }
  EXPECT_TRUE(ended);
}

TEST(Client, OtherCallsAnswer) {
  const FakeServer server(Writes({}));
  const auto client = Connect(server);
  EXPECT_THAT(*client->Tokenize("AB"), ElementsAre(65, 66));
  EXPECT_EQ(client->Cancel("req-1"), absl::OkStatus());
  EXPECT_EQ(client->Cancel("req-2"), absl::NotFoundError("no unfinished request req-2"));
  const auto model = client->GetModel(kPatience);
  ASSERT_TRUE(model.ok());
  EXPECT_EQ(model->name, "demo");
  EXPECT_EQ(model->max_model_len, 1024u);
  EXPECT_EQ(model->num_blocks, 99u);
  EXPECT_EQ(model->version, "0.1.0");
}

TEST(Client, NoServerIsUnavailableAfterTheTimeout) {
  const auto client = Client::Connect("127.0.0.1:1", absl::Milliseconds(50));
  EXPECT_EQ(client.status(),
            absl::UnavailableError("no Pagoda server at 127.0.0.1:1 (waited 50ms)"));
}

}  // namespace
}  // namespace pagoda
