#include "kernels/cpu/thread_team.h"

#include <time.h>
#include <xmmintrin.h>

#include <atomic>
#include <numeric>
#include <thread>
#include <vector>

#include "common/mutex.h"
#include "gtest/gtest.h"

namespace pagoda::cpu {
namespace {

class ThreadTeamTest : public testing::TestWithParam<int> {
 protected:
  ThreadTeam team_{GetParam()};
};

TEST_P(ThreadTeamTest, ForEachDoesEveryPartOnceAndReturnsAfterTheLast) {
  for (int64_t count : {0, 1, 2, 7, 64}) {
    for (int round = 0; round < 100; ++round) {
      std::vector<int> done(count);  // plain ints: ForEach is the only synchronisation
      team_.ForEach(count, [&](int64_t i, int) { ++done[i]; });
      EXPECT_EQ(done, std::vector<int>(count, 1));
    }
  }
}

TEST_P(ThreadTeamTest, AThreadDoesOnePartAtATimeAndTheCallerIsThreadZero) {
  std::vector<int> parts(team_.size());  // plain: one thread per entry
  const std::thread::id caller = std::this_thread::get_id();
  for (int round = 0; round < 100; ++round) {
    team_.ForEach(40, [&](int64_t, int thread) {
      ASSERT_LT(thread, team_.size());
      ++parts[thread];
      EXPECT_EQ(thread == 0, std::this_thread::get_id() == caller);
    });
  }
  EXPECT_EQ(std::accumulate(parts.begin(), parts.end(), 0), 4000);
}

TEST_P(ThreadTeamTest, EveryThreadTakesPart) {
  // Each part waits for the others, so all threads must be inside at once.
  std::atomic<int> inside{0};
  team_.ForEach(team_.size(), [&](int64_t, int) {
    ++inside;
    while (inside < team_.size()) std::this_thread::yield();
  });
  EXPECT_EQ(inside, team_.size());
}

TEST_P(ThreadTeamTest, JobsOfAStepFollowEachOther) {
  constexpr int kParts = 10;
  std::vector<int64_t> sum(kParts);
  for (int step = 0; step < 20; ++step) {
    const ThreadTeam::Step awake(&team_);
    for (int job = 0; job < 50; ++job) {
      // Reads what another part wrote in the job before.
      std::vector<int64_t> next(kParts);
      team_.ForEach(kParts, [&](int64_t i, int) { next[i] = sum[(i + 1) % kParts] + 1; });
      sum = next;
    }
  }
  EXPECT_EQ(sum, std::vector<int64_t>(kParts, 1000));
}

TEST_P(ThreadTeamTest, SplitCoversTheRangeOnceInContiguousParts) {
  for (int64_t count : {0, 1, 2, 3, 5, 17, 100}) {
    std::vector<int> hits(count);
    std::atomic<int> parts{0};
    team_.Split(count, [&](int64_t begin, int64_t end, int) {
      EXPECT_LT(begin, end);
      ++parts;
      for (int64_t i = begin; i < end; ++i) ++hits[i];
    });
    EXPECT_EQ(hits, std::vector<int>(count, 1));
    EXPECT_LE(parts, std::max(1, 4 * team_.size()));
  }
}

TEST_P(ThreadTeamTest, HelpersFlushDenormalsAndTheCallerIsLeftAlone) {
  const unsigned before = _mm_getcsr();
  std::vector<unsigned> modes(team_.size(), 0x8040);
  team_.ForEach(100, [&](int64_t, int thread) { modes[thread] = _mm_getcsr(); });
  for (int thread = 1; thread < team_.size(); ++thread) EXPECT_EQ(modes[thread] & 0x8040, 0x8040u);
  EXPECT_EQ(_mm_getcsr(), before);
}

// CPU time, not wall time: helpers that spin between steps would burn all of it.
TEST_P(ThreadTeamTest, HelpersSleepBetweenSteps) {
  { const ThreadTeam::Step awake(&team_); }
  team_.ForEach(100, [](int64_t, int) {});
  const auto cpu = [] {
    timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
  };
  const double before = cpu();
  Mutex mu;
  CondVar never;
  {
    MutexLock lock(&mu);
    never.WaitFor(&mu, absl::Milliseconds(200));
  }
  EXPECT_LT(cpu() - before, 0.1);
}

TEST_P(ThreadTeamTest, AWarmTeamMayEndAtAnyTime) {
  for (int round = 0; round < 20; ++round) {
    ThreadTeam team(GetParam());
    if (round % 2 == 0) continue;
    const ThreadTeam::Step awake(&team);
    team.ForEach(100, [](int64_t, int) {});
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, ThreadTeamTest, testing::Values(1, 2, 3, 8));

TEST(ThreadTeamDeathTest, AJobInsideAJobIsABug) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(
      {
        ThreadTeam team(2);
        team.ForEach(2, [&](int64_t, int) { team.ForEach(2, [](int64_t, int) {}); });
      },
      "job inside a job");
}

}  // namespace
}  // namespace pagoda::cpu
