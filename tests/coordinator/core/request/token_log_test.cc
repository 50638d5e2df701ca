#include "coordinator/core/request/token_log.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <thread>
#include <vector>

namespace pagoda::core {
namespace {

std::vector<int32_t> ReadAll(TokenLog::Cursor* cursor) {
  std::vector<int32_t> tokens;
  while (!cursor->AtEnd()) tokens.push_back(cursor->Next());
  return tokens;
}

std::vector<int32_t> Count(int32_t n) {
  std::vector<int32_t> tokens(n);
  std::iota(tokens.begin(), tokens.end(), 0);
  return tokens;
}

TEST(TokenLogTest, ReadersSeeOnlyWhatIsPublished) {
  TokenLog log(false);
  TokenLog::Cursor cursor(&log);
  log.Append(7);
  log.Append(8);
  EXPECT_EQ(log.size(), 2u);
  EXPECT_EQ(log.published(), 0u);
  EXPECT_TRUE(cursor.AtEnd());
  log.Publish(1);
  EXPECT_EQ(ReadAll(&cursor), std::vector<int32_t>{7});
  EXPECT_TRUE(cursor.AtEnd());
  log.Publish(2);
  EXPECT_EQ(cursor.position(), 1u);
  EXPECT_EQ(ReadAll(&cursor), std::vector<int32_t>{8});
}

// Every length up to three chunks and one, so that borders are met from both sides.
TEST(TokenLogTest, TokensSurviveChunkBorders) {
  for (int32_t length = 0; length <= 200; ++length) {
    TokenLog log(false);
    for (int32_t token = 0; token < length; ++token) log.Append(token);
    log.Publish(length);
    TokenLog::Cursor cursor(&log);
    EXPECT_EQ(ReadAll(&cursor), Count(length));
    std::vector<int32_t> copy = {-1};
    log.CopyTo(&copy);
    ASSERT_EQ(copy.size(), static_cast<size_t>(length) + 1);
    EXPECT_EQ(copy.front(), -1) << "CopyTo appends";
    EXPECT_EQ(std::vector<int32_t>(copy.begin() + 1, copy.end()), Count(length));
  }
}

TEST(TokenLogTest, CopyHasWhatIsNotPublishedYet) {
  TokenLog log(false);
  log.Append(5);
  std::vector<int32_t> copy;
  log.CopyTo(&copy);
  EXPECT_EQ(copy, std::vector<int32_t>{5});
}

TEST(TokenLogTest, CursorsLagIndependently) {
  TokenLog log(false);
  TokenLog::Cursor slow(&log);
  TokenLog::Cursor fast(&log);
  for (int32_t token = 0; token < 150; ++token) {
    log.Append(token);
    log.Publish(log.size());
    EXPECT_EQ(fast.Next(), token);
  }
  EXPECT_EQ(slow.position(), 0u);
  const TokenLog::Cursor copy = slow;
  EXPECT_EQ(ReadAll(&slow), Count(150));
  EXPECT_TRUE(fast.AtEnd());
  TokenLog::Cursor again = copy;
  EXPECT_EQ(ReadAll(&again), Count(150)) << "a copy keeps its own place";
}

TEST(TokenLogTest, LogprobsStayWithTheirToken) {
  TokenLog log(true);
  for (int32_t token = 0; token < 130; ++token) {
    TokenLogprobs logprobs{.logprob = -0.5f * token,
                           .rank = static_cast<uint32_t>(token) + 1,
                           .top = {{token + 1, -1}, {token + 2, -2}}};
    log.Append(token, &logprobs);
  }
  log.Publish(130);
  TokenLog::Cursor cursor(&log);
  for (int32_t token = 0; token < 130; ++token) {
    TokenLogprobs logprobs;
    ASSERT_EQ(cursor.Next(&logprobs), token);
    EXPECT_EQ(logprobs.logprob, -0.5f * token);
    EXPECT_EQ(logprobs.rank, static_cast<uint32_t>(token) + 1);
    ASSERT_EQ(logprobs.top.size(), 2u);
    EXPECT_EQ(logprobs.top[1].token, token + 2);
    EXPECT_EQ(logprobs.top[1].logprob, -2);
  }
}

TEST(TokenLogTest, LogWithoutLogprobsTakesNoneAndGivesNone) {
  TokenLog log(false);
  TokenLogprobs given{.logprob = -3, .rank = 4, .top = {{1, -1}}};
  log.Append(9, &given);
  log.Publish(1);
  EXPECT_EQ(given.top.size(), 1u) << "left alone";
  TokenLog::Cursor cursor(&log);
  TokenLogprobs read{.logprob = 1};
  EXPECT_EQ(cursor.Next(&read), 9);
  EXPECT_EQ(read.logprob, 1) << "untouched";
}

// A chain this long would exhaust the stack if chunks were destroyed one inside the other.
TEST(TokenLogTest, ALongLogIsDestroyedWithoutRecursion) {
  TokenLog log(false);
  for (int32_t token = 0; token < 20'000'000; ++token) log.Append(token);
  EXPECT_EQ(log.size(), 20'000'000u);
}

TEST(TokenLogTest, ReadersFollowAConcurrentWriter) {
  constexpr int32_t kTokens = 50000;
  TokenLog log(true);
  std::vector<std::thread> readers;
  std::vector<int64_t> wrong(3);
  for (int64_t& errors : wrong) {
    readers.emplace_back([&log, &errors] {
      TokenLog::Cursor cursor(&log);
      while (cursor.position() < kTokens) {
        if (cursor.AtEnd()) std::this_thread::yield();
        while (!cursor.AtEnd()) {
          const int32_t expected = static_cast<int32_t>(cursor.position());
          TokenLogprobs logprobs;
          errors += cursor.Next(&logprobs) != expected;
          errors += logprobs.rank != static_cast<uint32_t>(expected) + 1;
        }
      }
    });
  }
  for (int32_t token = 0; token < kTokens; ++token) {
    TokenLogprobs logprobs{.rank = static_cast<uint32_t>(token) + 1};
    log.Append(token, &logprobs);
    if (token % 3 != 0 || token + 1 == kTokens) log.Publish(log.size());
  }
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong, std::vector<int64_t>(3));
}

using TokenLogDeathTest = ::testing::Test;

TEST(TokenLogDeathTest, PublishedLengthNeitherFallsNorPassesTheEnd) {
  TokenLog log(false);
  log.Append(1);
  log.Append(2);
  EXPECT_DEATH(log.Publish(3), "CHECK");
  log.Publish(2);
  EXPECT_DEATH(log.Publish(1), "CHECK");
}

TEST(TokenLogDeathTest, ReadingPastTheEndIsABug) {
  TokenLog log(false);
  log.Append(1);
  TokenLog::Cursor cursor(&log);
  EXPECT_DEATH(cursor.Next(), "CHECK");
}

}  // namespace
}  // namespace pagoda::core
