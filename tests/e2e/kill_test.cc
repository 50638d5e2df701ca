// kill -9 of the worker in the middle of everything.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <memory>
#include <thread>
#include <vector>

#include "common/random.h"
#include "tests/e2e/progress.h"
#include "tests/e2e/serve.h"
#include "tests/e2e/streams.h"

namespace pagoda::e2e {
namespace {

TEST(KillTest, TenKilledWorkersChangeNoByteOf32Streams) {
  constexpr size_t kStreams = 32;
  constexpr uint32_t kTokens = 96;
  constexpr uint64_t kTotal = kStreams * kTokens;
  constexpr int kKills = 10;
  Serve serve;
  const std::unique_ptr<Client> client = serve.Connect();
  const auto requests = SampledRequests(kStreams, kTokens);
  const auto undisturbed = RunAll(client.get(), requests);

  Progress progress(kStreams);
  uint64_t tokens = 0;  // when the last kill came
  std::thread killer([&] {
    Random random(20240607);
    for (int number = 1; number <= kKills; ++number) {
      const uint64_t point = tokens + 1 + random.Below(2 * kTotal / (kKills + 2));
      // Leaves the later kills some output, and this one a step of the new worker.
      tokens = progress.WaitForAll(
          std::max(tokens + 1, std::min(point, kTotal * number / (kKills + 1))));
      EXPECT_EQ(kill(serve.worker(number), SIGKILL), 0);
    }
  });
  const auto disturbed = RunAll(client.get(), requests, [&](size_t stream, const Delta& delta) {
    progress.Add(stream, delta.num_tokens);
  });
  killer.join();
  ExpectSame(disturbed, undisturbed);
  EXPECT_LT(tokens, kTotal);
  serve.worker(kKills + 1);
  EXPECT_EQ(serve.workers_started(), kKills + 1) << serve.log();
  serve.Signal(SIGTERM);
  EXPECT_EQ(serve.Wait(), "ended with status 0");
}

}  // namespace
}  // namespace pagoda::e2e
