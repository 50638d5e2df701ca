#include "common/queue.h"

#include <memory>
#include <numeric>
#include <thread>

#include "common/clock.h"
#include "gtest/gtest.h"

namespace pagoda {
namespace {

using Ints = std::vector<int>;

absl::Time Past() { return absl::InfinitePast(); }

TEST(BoundedQueueTest, IsFirstInFirstOut) {
  BoundedQueue<int> queue(3);
  for (int i = 1; i <= 3; ++i) EXPECT_TRUE(queue.Push(int{i}));
  EXPECT_EQ(queue.size(), 3u);
  for (int i = 1; i <= 3; ++i) EXPECT_EQ(queue.Pop(), i);
  EXPECT_EQ(queue.size(), 0u);
}

TEST(BoundedQueueTest, TryPushRefusesWhenFullAndLeavesTheValue) {
  BoundedQueue<std::unique_ptr<int>> queue(1);
  EXPECT_TRUE(queue.TryPush(std::make_unique<int>(1)));
  auto second = std::make_unique<int>(2);
  EXPECT_FALSE(queue.TryPush(std::move(second)));
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(**queue.Pop(), 1);
  EXPECT_TRUE(queue.TryPush(std::move(second)));
  EXPECT_EQ(second, nullptr);
  EXPECT_EQ(**queue.Pop(), 2);
}

TEST(BoundedQueueTest, PopUntilGivesUpAtTheDeadline) {
  BoundedQueue<int> queue(1);
  const absl::Time deadline = RealClock()->Now() + absl::Milliseconds(10);
  EXPECT_EQ(queue.PopUntil(deadline), std::nullopt);
  EXPECT_GE(RealClock()->Now(), deadline);
}

TEST(BoundedQueueTest, APastDeadlineTakesWhatIsThere) {
  BoundedQueue<int> queue(2);
  EXPECT_EQ(queue.PopUntil(Past()), std::nullopt);
  queue.Push(1);
  EXPECT_EQ(queue.PopUntil(Past()), 1);
  queue.Push(2);
  Ints out;
  EXPECT_TRUE(queue.PopAll(&out, Past()));
  EXPECT_EQ(out, Ints{2});
}

TEST(BoundedQueueTest, PopAllAppendsEverythingInOrder) {
  BoundedQueue<int> queue(4);
  for (int i = 1; i <= 4; ++i) queue.Push(int{i});
  Ints out = {0};
  EXPECT_TRUE(queue.PopAll(&out, absl::InfiniteFuture()));
  EXPECT_EQ(out, (Ints{0, 1, 2, 3, 4}));
  EXPECT_TRUE(queue.TryPush(5)) << "all room is free again";
}

TEST(BoundedQueueTest, PopAllTellsATimeoutFromTheEnd) {
  BoundedQueue<int> queue(4);
  Ints out;
  EXPECT_TRUE(queue.PopAll(&out, RealClock()->Now() + absl::Milliseconds(5)));
  EXPECT_TRUE(out.empty());
  queue.Push(1);
  queue.Close();
  EXPECT_TRUE(queue.PopAll(&out, absl::InfiniteFuture()));
  EXPECT_EQ(out, Ints{1});
  EXPECT_FALSE(queue.PopAll(&out, absl::InfiniteFuture()));
  EXPECT_EQ(out, Ints{1});
}

TEST(BoundedQueueTest, ClosedQueueTakesNothingAndDrains) {
  BoundedQueue<std::unique_ptr<int>> queue(2);
  queue.Push(std::make_unique<int>(1));
  queue.Close();
  queue.Close();
  auto late = std::make_unique<int>(2);
  EXPECT_FALSE(queue.Push(std::move(late)));
  EXPECT_FALSE(queue.TryPush(std::move(late)));
  EXPECT_NE(late, nullptr);
  EXPECT_EQ(**queue.Pop(), 1);
  EXPECT_EQ(queue.Pop(), std::nullopt);
  EXPECT_EQ(queue.PopUntil(absl::InfiniteFuture()), std::nullopt);
}

// Whether a waiter already waits when Close comes is up to the scheduler, so this goes many rounds.
TEST(BoundedQueueTest, CloseWakesEveryWaiter) {
  for (int round = 0; round < 50; ++round) {
    BoundedQueue<int> empty(1);
    BoundedQueue<int> full(1);
    BoundedQueue<int> started(4);
    full.Push(0);
    std::vector<std::thread> waiters;
    for (int i = 0; i < 2; ++i) {
      waiters.emplace_back([&] {
        started.Push(1);
        EXPECT_EQ(empty.Pop(), std::nullopt);
      });
      waiters.emplace_back([&] {
        started.Push(1);
        EXPECT_FALSE(full.Push(1));
      });
    }
    for (size_t i = 0; i < waiters.size(); ++i) started.Pop();
    for (int i = 0; i < 20; ++i) std::this_thread::yield();
    empty.Close();
    full.Close();
    for (std::thread& waiter : waiters) waiter.join();
    EXPECT_EQ(full.Pop(), 0);
  }
}

TEST(BoundedQueueTest, PushWaitsForRoomAndKeepsOrder) {
  BoundedQueue<int> queue(2);
  std::thread producer([&] {
    for (int i = 0; i < 5'000; ++i) ASSERT_TRUE(queue.Push(int{i}));
    queue.Close();
  });
  int expected = 0;
  while (const std::optional<int> item = queue.Pop()) {
    ASSERT_EQ(*item, expected++);
    ASSERT_LE(queue.size(), 2u);
  }
  EXPECT_EQ(expected, 5'000);
  producer.join();
}

TEST(BoundedQueueTest, NothingIsLostOrDoubledBetweenManyThreads) {
  constexpr int kProducers = 3;
  constexpr int kItems = 3'000;
  BoundedQueue<int> queue(8);
  std::vector<std::thread> producers;
  for (int p = 0; p < kProducers; ++p) {
    producers.emplace_back([&queue, p] {
      for (int i = 0; i < kItems; ++i) ASSERT_TRUE(queue.Push(p * kItems + i));
    });
  }
  std::vector<Ints> taken(2);
  std::thread popper([&] {
    while (const std::optional<int> item = queue.Pop()) taken[0].push_back(*item);
  });
  std::thread batcher([&] {
    while (queue.PopAll(&taken[1], absl::InfiniteFuture())) {
    }
  });
  for (std::thread& producer : producers) producer.join();
  queue.Close();
  popper.join();
  batcher.join();

  std::vector<int> seen(size_t{kProducers} * kItems, 0);
  for (const Ints& items : taken) {
    for (int item : items) ++seen[item];
  }
  EXPECT_EQ(seen, std::vector<int>(seen.size(), 1));
}

TEST(BoundedQueueDeathTest, NeedsRoom) { EXPECT_DEATH(BoundedQueue<int>(0), "capacity"); }

}  // namespace
}  // namespace pagoda
