#include "common/mutex.h"

#include <thread>
#include <vector>

#include "common/clock.h"
#include "gtest/gtest.h"

namespace pagoda {
namespace {

// What the threads of a test share.
struct Shared {
  Mutex mu;
  CondVar changed;
  int value ABSL_GUARDED_BY(mu) = 0;

  void Add(int n) ABSL_LOCKS_EXCLUDED(mu) {
    MutexLock lock(&mu);
    value += n;
    changed.SignalAll();
  }
};

TEST(MutexTest, ExcludesOtherThreads) {
  Shared shared;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5'000; ++i) {
        MutexLock lock(&shared.mu);
        const int seen = shared.value;
        shared.value = seen + 1;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  MutexLock lock(&shared.mu);
  EXPECT_EQ(shared.value, 20'000);
}

TEST(CondVarTest, WaitReleasesTheMutexAndHoldsItAgain) {
  Shared shared;
  std::thread writer;
  {
    MutexLock lock(&shared.mu);
    writer = std::thread([&] { shared.Add(1); });  // cannot enter before the wait below
    while (shared.value == 0) shared.changed.Wait(&shared.mu);
    EXPECT_EQ(shared.value, 1);
  }
  writer.join();
}

TEST(CondVarTest, SignalWakesOneWaiterAtLeast) {
  Shared shared;
  std::thread waiter([&] {
    MutexLock lock(&shared.mu);
    while (shared.value == 0) shared.changed.Wait(&shared.mu);
    shared.value = 2;
  });
  {
    MutexLock lock(&shared.mu);
    shared.value = 1;
    shared.changed.Signal();
  }
  waiter.join();
  MutexLock lock(&shared.mu);
  EXPECT_EQ(shared.value, 2);
}

TEST(CondVarTest, TimedWaitsEndAtTheirTime) {
  Shared shared;
  MutexLock lock(&shared.mu);
  const absl::Time deadline = RealClock()->Now() + absl::Milliseconds(20);
  while (shared.changed.WaitUntil(&shared.mu, deadline)) {
  }
  EXPECT_GE(RealClock()->Now(), deadline);
  const absl::Time start = RealClock()->Now();
  while (shared.changed.WaitFor(&shared.mu, absl::Milliseconds(5))) {
  }
  EXPECT_GE(RealClock()->Now() - start, absl::Milliseconds(5));
}

TEST(CondVarTest, APastDeadlineDoesNotWait) {
  Shared shared;
  MutexLock lock(&shared.mu);
  EXPECT_FALSE(shared.changed.WaitFor(&shared.mu, absl::ZeroDuration()));
  EXPECT_FALSE(shared.changed.WaitFor(&shared.mu, -absl::InfiniteDuration()));
  EXPECT_FALSE(shared.changed.WaitUntil(&shared.mu, absl::InfinitePast()));
  EXPECT_FALSE(shared.changed.WaitUntil(&shared.mu, RealClock()->Now() - absl::Seconds(1)));
}

TEST(CondVarTest, HugeTimeoutsWaitForTheSignal) {
  for (absl::Duration timeout : {absl::InfiniteDuration(), absl::Hours(24 * 366 * 500)}) {
    Shared shared;
    std::thread writer;
    MutexLock lock(&shared.mu);
    writer = std::thread([&] { shared.Add(1); });
    while (shared.value == 0) ASSERT_TRUE(shared.changed.WaitFor(&shared.mu, timeout));
    shared.mu.Unlock();
    writer.join();
    shared.mu.Lock();
  }
}

}  // namespace
}  // namespace pagoda
