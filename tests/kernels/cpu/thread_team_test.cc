#include "kernels/cpu/thread_team.h"

#include <time.h>
#include <xmmintrin.h>

#include <set>
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

TEST_P(ThreadTeamTest, RunCallsEveryThreadOnceAndReturnsAfterTheLast) {
  for (int round = 0; round < 300; ++round) {
    std::vector<int> calls(team_.size());  // plain ints: Run is the only synchronisation
    team_.Run([&](int thread) { ++calls[thread]; });
    EXPECT_EQ(calls, std::vector<int>(team_.size(), 1));
  }
}

TEST_P(ThreadTeamTest, TheCallerIsThreadZero) {
  std::thread::id zero;
  team_.Run([&](int thread) {
    if (thread == 0) zero = std::this_thread::get_id();
  });
  EXPECT_EQ(zero, std::this_thread::get_id());
}

TEST_P(ThreadTeamTest, JobsOfAStepFollowEachOther) {
  std::vector<int64_t> sum(team_.size());
  for (int step = 0; step < 20; ++step) {
    const ThreadTeam::Step awake(&team_);
    for (int job = 0; job < 50; ++job) {
      // Reads what the neighbour wrote in the job before.
      std::vector<int64_t> next(team_.size());
      team_.Run([&](int thread) { next[thread] = sum[(thread + 1) % team_.size()] + 1; });
      sum = next;
    }
  }
  EXPECT_EQ(sum, std::vector<int64_t>(team_.size(), 1000));
}

TEST_P(ThreadTeamTest, SplitCoversTheRangeOnceInContiguousParts) {
  for (int64_t count : {0, 1, 2, 3, 5, 17, 100}) {
    std::vector<int> hits(count);
    std::vector<int> parts(team_.size());
    team_.Split(count, [&](int64_t begin, int64_t end, int thread) {
      EXPECT_LT(begin, end);
      ++parts[thread];
      for (int64_t i = begin; i < end; ++i) ++hits[i];
    });
    EXPECT_EQ(hits, std::vector<int>(count, 1));
    for (int part : parts) EXPECT_LE(part, 1);
  }
}

TEST_P(ThreadTeamTest, ForEachTakesEveryIndexOnce) {
  for (int64_t count : {0, 1, 2, 7, 1000}) {
    std::vector<int> hits(count);
    team_.ForEach(count, [&](int64_t i, int thread) {
      EXPECT_LT(thread, team_.size());
      ++hits[i];
    });
    EXPECT_EQ(hits, std::vector<int>(count, 1));
  }
}

TEST_P(ThreadTeamTest, HelpersFlushDenormalsAndTheCallerIsLeftAlone) {
  const unsigned before = _mm_getcsr();
  std::vector<unsigned> modes(team_.size());
  team_.Run([&](int thread) { modes[thread] = _mm_getcsr(); });
  for (int thread = 1; thread < team_.size(); ++thread) {
    EXPECT_EQ(modes[thread] & 0x8040, 0x8040u);
  }
  EXPECT_EQ(_mm_getcsr(), before);
}

// CPU time, not wall time: helpers that spin between steps would burn all of it.
TEST_P(ThreadTeamTest, HelpersSleepBetweenSteps) {
  { const ThreadTeam::Step awake(&team_); }
  team_.Run([](int) {});
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
    team.Run([](int) {});
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, ThreadTeamTest, testing::Values(1, 2, 3, 8));

TEST(ThreadTeamDeathTest, AJobInsideAJobIsABug) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(
      {
        ThreadTeam team(2);
        team.Run([&](int thread) {
          if (thread == 0) team.Run([](int) {});
          while (thread == 1) std::this_thread::yield();
        });
      },
      "job inside a job");
}

}  // namespace
}  // namespace pagoda::cpu
