// The CUDA worker in a server, on a GPU or on the fake device, beside the CPU worker.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "client/cli/supervisor/private_dir.h"
#include "common/check.h"
#include "tests/e2e/processes.h"
#include "tests/e2e/serve.h"
#include "tests/e2e/streams.h"

namespace pagoda::e2e {
namespace {

using ::testing::HasSubstr;
using Results = std::vector<absl::StatusOr<Completion>>;

constexpr size_t kPrompts = 3;
constexpr char kFakeWorker[] = "pagoda-worker-fake-cuda";
constexpr char kCpuWorker[] = "pagoda-worker-cpu";

bool Has(const char* program) { return std::filesystem::exists(Program(program)); }

// The build's programs, one of them as its worker.
class Programs {
 public:
  explicit Programs(const char* worker) {
    auto directory = PrivateDir::Make();
    CHECK_OK(directory);
    directory_ = *std::move(directory);
    Copy("pagoda", "pagoda");
    Copy("pagoda-coordinator", "pagoda-coordinator");
    Copy(worker, "pagoda-worker");
  }
  std::string path() const { return directory_->path(); }

 private:
  void Copy(const char* from, const char* to) {
    std::filesystem::copy_file(Program(from), path() + "/" + to);
  }

  std::unique_ptr<PrivateDir> directory_;
};

const std::string& CudaPrograms() {
  static const Programs programs(Has(kFakeWorker) ? kFakeWorker : "pagoda-worker");
  static const std::string path = programs.path();
  return path;
}

const std::string& CpuPrograms() {
  static const Programs programs(Has(kCpuWorker) ? kCpuWorker : "pagoda-worker");
  static const std::string path = programs.path();
  return path;
}

std::vector<GenerateRequest> Requests(uint32_t tokens, float temperature) {
  std::vector<GenerateRequest> requests = SampledRequests(kPrompts, tokens);
  for (GenerateRequest& request : requests) {
    request.temperature = temperature;
    request.logprobs = 2;
  }
  return requests;
}

Results Ask(const std::string& programs,
            const std::string& dtype,
            const std::vector<GenerateRequest>& requests,
            const std::vector<std::string>& flags = {}) {
  std::vector<std::string> all = {"--dtype=" + dtype, "--kv-cache-memory-bytes=8MiB"};
  all.insert(all.end(), flags.begin(), flags.end());
  Serve serve(all, kModel, programs);
  Results results = RunAll(serve.Connect().get(), requests);
  serve.Signal(SIGTERM);
  EXPECT_EQ(serve.Wait(), "ended with status 0") << serve.log();
  return results;
}

// How far the most likely token is from the next.
float Margin(const TokenLogprob& token) { return token.top[0].logprob - token.top[1].logprob; }

// The same tokens up to one that may go either way, and log-probabilities no further apart than
// `tolerance`. Answers how many tokens were compared.
size_t ExpectNear(const Results& got, const Results& want, float margin, float tolerance) {
  size_t compared = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    CHECK_OK(want[i]);
    EXPECT_TRUE(got[i].ok()) << got[i].status();
    if (!got[i].ok()) continue;
    const std::vector<TokenLogprob>& a = got[i]->choices[0].logprobs;
    const std::vector<TokenLogprob>& b = want[i]->choices[0].logprobs;
    EXPECT_EQ(a.size(), b.size());
    for (size_t t = 0; t < b.size() && t < a.size() && Margin(b[t]) >= margin; ++t, ++compared) {
      EXPECT_EQ(a[t].token, b[t].token) << "prompt " << i << ", token " << t;
      if (a[t].token != b[t].token) break;
      EXPECT_NEAR(a[t].logprob, b[t].logprob, tolerance) << "prompt " << i << ", token " << t;
    }
  }
  return compared;
}

int Schedules() {
  const char* const count = std::getenv("PAGODA_CUDA_SCHEDULES");
  return !Has(kFakeWorker) || count == nullptr ? 1 : std::atoi(count);
}

class CudaWorkerTest : public ::testing::Test {
 protected:
  ~CudaWorkerTest() override {
    unsetenv("PAGODA_FAKE_CUDA_SEED");
    unsetenv("PAGODA_FAKE_CUDA_DEVICES");
    unsetenv("PAGODA_FAKE_CUDA_LOST_AFTER");
  }
};

TEST_F(CudaWorkerTest, GivesTheTokensOfTheCpuInF32) {
  constexpr uint32_t kTokens = 24;
  const auto requests = Requests(kTokens, 0);
  const Results want = Ask(CpuPrograms(), "float32", requests);
  for (int seed = 1; seed <= Schedules(); ++seed) {
    setenv("PAGODA_FAKE_CUDA_SEED", std::to_string(seed).c_str(), 1);
    const Results got = Ask(CudaPrograms(), "float32", requests);
    EXPECT_GE(ExpectNear(got, want, 1e-3f, 1e-3f), kPrompts * kTokens / 2) << "schedule " << seed;
    for (const auto& result : got) {
      EXPECT_NE(result->accepted.system_fingerprint, want[0]->accepted.system_fingerprint);
    }
  }
}

// Sampling included: the bits of the logits are the CPU's (kernels/NUMERICS.md).
TEST_F(CudaWorkerTest, DrawsWhatTheCpuDrawsInF32) {
  const auto requests = Requests(8, 1);
  const Results want = Ask(CpuPrograms(), "float32", requests);
  const Results got = Ask(CudaPrograms(), "float32", requests);
  for (size_t i = 0; i < kPrompts; ++i) {
    ASSERT_TRUE(got[i].ok()) << got[i].status();
    EXPECT_EQ(got[i]->choices[0].token_ids, want[i]->choices[0].token_ids) << i;
    EXPECT_EQ(got[i]->choices[0].text, want[i]->choices[0].text) << i;
  }
}

TEST_F(CudaWorkerTest, IsNearTheCpuInBf16) {
  constexpr float kTolerance = 0.1f;  // of a log-probability
  const auto requests = Requests(4, 0);
  const Results want = Ask(CpuPrograms(), "bfloat16", requests);
  const Results got = Ask(CudaPrograms(), "bfloat16", requests);
  EXPECT_GE(ExpectNear(got, want, 2 * kTolerance, kTolerance), kPrompts);
  const Results other = Ask(CudaPrograms(), "bfloat16", requests, {"--no-deterministic"});
  EXPECT_GE(ExpectNear(other, want, 2 * kTolerance, kTolerance), kPrompts);
  EXPECT_NE(other[0]->accepted.system_fingerprint, got[0]->accepted.system_fingerprint);
}

// Ranks of NCCL have a device each; through the host they may share one.
TEST_F(CudaWorkerTest, SeveralRanksGiveTheTokensOfOne) {
  const auto requests = Requests(5, 1);
  const Results one = Ask(CudaPrograms(), "bfloat16", requests);
  for (const char* ranks : {"2", "4"}) {
    ExpectSame(Ask(CudaPrograms(),
                   "bfloat16",
                   requests,
                   {"--comm-backend=local", std::string("--tensor-parallel-size=") + ranks}),
               one);
  }
}

TEST_F(CudaWorkerTest, RanksWithADeviceEachMeetThroughNcclAgainAfterOneIsKilled) {
  if (!Has(kFakeWorker) && !std::filesystem::exists("/dev/nvidia1")) GTEST_SKIP() << "needs 2 GPUs";
  setenv("PAGODA_FAKE_CUDA_DEVICES", "2", 1);
  const auto requests = Requests(8, 1);
  const Results one = Ask(CudaPrograms(), "bfloat16", requests);
  Serve serve({"--kv-cache-memory-bytes=8MiB", "--tensor-parallel-size=2"}, kModel, CudaPrograms());
  const pid_t victim = serve.worker(1, 1);
  std::once_flag once;
  const auto got = RunAll(serve.Connect().get(), requests, [&](size_t, const Delta& delta) {
    if (delta.num_tokens > 0) std::call_once(once, [&] { EXPECT_EQ(kill(victim, SIGKILL), 0); });
  });
  ExpectSame(got, one);
  // The other keeps its weights.
  EXPECT_EQ(serve.workers_started(), 3) << serve.log();
}

TEST_F(CudaWorkerTest, ALostDeviceEndsItWithOneLineAndTheAnswerGoesOn) {
  if (!Has(kFakeWorker)) GTEST_SKIP() << "a GPU is not broken for a test";
  const auto requests = Requests(12, 1);
  const Results want = Ask(CudaPrograms(), "float32", requests);
  setenv("PAGODA_FAKE_CUDA_LOST_AFTER", "700", 1);
  Serve serve({"--dtype=float32", "--kv-cache-memory-bytes=8MiB"}, kModel, CudaPrograms());
  const Results got = RunAll(serve.Connect().get(), requests);
  ExpectSame(got, want);
  EXPECT_GE(serve.workers_started(), 2);
  EXPECT_THAT(serve.WaitForLine("worker ends"), HasSubstr("the device is lost: "));
  EXPECT_THAT(serve.log(), HasSubstr("cudaErrorLaunchFailure"));
}

TEST_F(CudaWorkerTest, DoctorSaysWhatTheDeviceIs) {
  const Outcome outcome = RunProgram({CudaPrograms() + "/pagoda", "doctor", kModel});
  EXPECT_EQ(outcome.end, "ended with status 0") << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("cuda sm_"));
  EXPECT_THAT(outcome.out, HasSubstr("fits           yes"));
}

}  // namespace
}  // namespace pagoda::e2e
