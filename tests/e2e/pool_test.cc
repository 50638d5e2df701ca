// Many streams over few blocks.
#include <gtest/gtest.h>

#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/random.h"
#include "tests/e2e/serve.h"
#include "tests/e2e/streams.h"

namespace pagoda::e2e {
namespace {

constexpr uint32_t kBlockSize = 16;
constexpr size_t kStreams = 64;

TEST(PoolTest, SixtyFourStreamsOverAQuarterOfTheirBlocksAllFinish) {
  const auto requests = SampledRequests(kStreams, 90);
  Serve ample;
  const auto undisturbed = RunAll(ample.Connect().get(), requests);
  uint64_t blocks = 0;
  for (const auto& completion : undisturbed) {
    ASSERT_TRUE(completion.ok()) << completion.status();
    const uint64_t tokens = completion->prompt_tokens + completion->completion_tokens;
    blocks += (tokens + kBlockSize - 1) / kBlockSize;
  }
  Serve scarce({absl::StrCat("--num-gpu-blocks-override=", blocks / 4)});
  ExpectSame(RunAll(scarce.Connect().get(), requests), undisturbed);
}

// Reads some deltas of a stream and drops it.
void ReadAndLeave(Client* client, const GenerateRequest& request, uint64_t deltas) {
  auto generation = client->Start(request);
  ASSERT_TRUE(generation.ok()) << generation.status();
  for (uint64_t read = 0; read < deltas; ++read) {
    if (!(*generation)->Next().has_value()) return;
  }
}

TEST(PoolTest, RandomDisconnectsGiveEveryBlockBackWithinTwoSeconds) {
  constexpr uint32_t kBlocks = 64;  // of a context's length together
  Serve serve({absl::StrCat("--num-gpu-blocks-override=", kBlocks)});
  const std::unique_ptr<Client> client = serve.Connect();
  // Takes every block before its first token.
  GenerateRequest whole{.temperature = 0, .max_tokens = 1, .ignore_eos = true};
  whole.prompt = std::vector<uint32_t>(kBlocks * kBlockSize - 1, 300);
  whole.return_token_ids = true;
  const auto alone = client->Generate(whole);
  ASSERT_TRUE(alone.ok()) << alone.status();

  Random random(7);
  for (int round = 0; round < 3; ++round) {
    std::vector<std::thread> threads;
    for (const GenerateRequest& request : SampledRequests(kStreams, 200)) {
      const uint64_t deltas = random.Below(40);
      threads.emplace_back(
          [&client, request, deltas] { ReadAndLeave(client.get(), request, deltas); });
    }
    for (std::thread& thread : threads) thread.join();
    const absl::Time left = RealClock()->Now();
    const auto after = client->Generate(whole);
    ASSERT_TRUE(after.ok()) << after.status();
    EXPECT_EQ(after->choices[0].token_ids, alone->choices[0].token_ids);
    EXPECT_LT(RealClock()->Now() - left, absl::Seconds(2));
  }
}

}  // namespace
}  // namespace pagoda::e2e
