// How a request ends: stop tokens, stop strings, length, cancel, deadline, a failed row.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/coordinator/core/core_harness.h"

namespace pagoda::core {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class CoreEndTest : public ::testing::Test {
 protected:
  CoreEndTest() { harness_.Open(); }
  CoreHarness harness_;
};

TEST_F(CoreEndTest, ByLengthAfterMaxTokens) {
  harness_.Submit(1, 2, 3);
  harness_.Run();
  EXPECT_EQ(harness_.ended(1)->finish, FinishReason::kLength);
  EXPECT_EQ(harness_.ended(1)->completion_tokens, 3u);
  EXPECT_THAT(harness_.Tokens(1), ElementsAre(101, 102, 103));
}

TEST_F(CoreEndTest, ByAStopTokenWhichCounts) {
  RequestSpec spec = harness_.Request(1, 2, 9);
  spec.stop_token_ids = {5, 102, 900};
  harness_.Submit(std::move(spec));
  harness_.Run();
  EXPECT_EQ(harness_.ended(1)->finish, FinishReason::kStop);
  EXPECT_EQ(harness_.ended(1)->completion_tokens, 2u);
  EXPECT_THAT(harness_.Tokens(1), ElementsAre(101, 102)) << "the row of depth 2 is not shown";
}

TEST_F(CoreEndTest, AStopTokenAtTheLastPlaceIsAStop) {
  RequestSpec spec = harness_.Request(1, 2, 2);
  spec.stop_token_ids = {102};
  harness_.Submit(std::move(spec));
  harness_.Run();
  EXPECT_EQ(harness_.ended(1)->finish, FinishReason::kStop);
}

TEST_F(CoreEndTest, ByAStopStringThatIsReportedLate) {
  harness_.Submit(1, 2, 9);
  for (int i = 0; i < 4; ++i) {
    harness_.Tick();
    harness_.Answer();
  }
  EXPECT_THAT(harness_.StopAt(1, 2), ElementsAre("append 2 end 1", "end 1 OK stop 2"));
  EXPECT_EQ(harness_.log(1).size(), 4u) << "later tokens are never counted";
}

TEST_F(CoreEndTest, AStopBeyondWhatWasGeneratedIsIgnored) {
  harness_.Submit(1, 2, 9);
  harness_.Tick();
  harness_.Answer();
  EXPECT_THAT(harness_.StopAt(1, 2), IsEmpty());
  EXPECT_EQ(harness_.ended(1), nullptr);
}

TEST_F(CoreEndTest, WhatConcernsAnUnknownRequestIsIgnored) {
  EXPECT_THAT(harness_.StopAt(9, 1), IsEmpty());
  EXPECT_THAT(harness_.Cancel(9), IsEmpty());
  EXPECT_THAT(harness_.Apply(Detach{RequestId(9)}), IsEmpty());
}

TEST_F(CoreEndTest, OnlyTheFirstEndCounts) {
  harness_.Submit(1, 2, 1);
  harness_.Tick();
  harness_.set_journal_at_once(false);
  harness_.Answer();
  EXPECT_THAT(harness_.Cancel(1), IsEmpty());
  EXPECT_THAT(harness_.StopAt(1, 1), IsEmpty());
  EXPECT_THAT(harness_.Durable(), ElementsAre("end 1 OK length 1"));
  EXPECT_THAT(harness_.Cancel(1), IsEmpty());
}

TEST_F(CoreEndTest, ByCancelAtOnceWithItsBlocks) {
  harness_.Submit(1, 5, 9);
  harness_.Tick();
  harness_.Answer();
  EXPECT_LT(harness_.stats().free_blocks, 8u);
  EXPECT_THAT(harness_.Cancel(1), ElementsAre("append 2 end 1", "end 1 OK cancelled 1"));
  EXPECT_EQ(harness_.stats().free_blocks, 8u);
  EXPECT_THAT(harness_.Answer(), IsEmpty()) << "the row under way counts for nobody";
  EXPECT_THAT(harness_.Tick(), ElementsAre("plan 3: unbind 0"));
}

TEST_F(CoreEndTest, WhenItsReaderIsGone) {
  harness_.Submit(1, 2, 9);
  harness_.Apply(Detach{RequestId(1)});
  ASSERT_NE(harness_.ended(1), nullptr);
  EXPECT_EQ(harness_.ended(1)->finish, FinishReason::kCancelled);
}

TEST_F(CoreEndTest, ByItsDeadlineWaitingOrRunning) {
  for (uint64_t id : {1, 2}) {
    RequestSpec spec = harness_.Request(id, 2, 9);
    spec.deadline = absl::UnixEpoch() + absl::Seconds(static_cast<int64_t>(id));
    harness_.Submit(std::move(spec));
  }
  harness_.Submit(3, 2, 9);
  EXPECT_EQ(harness_.core().NextDeadline(), absl::UnixEpoch() + absl::Seconds(1));
  harness_.Tick(absl::Milliseconds(999));
  EXPECT_EQ(harness_.ended(1), nullptr);
  harness_.Tick(absl::Milliseconds(1));
  ASSERT_NE(harness_.ended(1), nullptr);
  EXPECT_TRUE(absl::IsDeadlineExceeded(harness_.ended(1)->status));
  EXPECT_EQ(harness_.ended(2), nullptr);
  harness_.Tick(absl::Seconds(5));
  EXPECT_NE(harness_.ended(2), nullptr);
  EXPECT_EQ(harness_.ended(3), nullptr);
}

TEST_F(CoreEndTest, AnEndedRequestsDeadlineIsForgotten) {
  RequestSpec spec = harness_.Request(1, 2, 9);
  spec.deadline = absl::UnixEpoch() + absl::Hours(1);
  harness_.Submit(std::move(spec));
  harness_.Cancel(1);
  EXPECT_EQ(harness_.core().NextDeadline(), absl::InfiniteFuture());
  EXPECT_THAT(harness_.Tick(absl::Hours(2)), IsEmpty());
}

TEST_F(CoreEndTest, AFailedRowEndsThatRequestAlone) {
  harness_.Draws(1, 1, std::nullopt);
  harness_.Submit(1, 2, 4);
  harness_.Submit(2, 2, 4);
  harness_.Run();
  ASSERT_NE(harness_.ended(1), nullptr);
  EXPECT_TRUE(absl::IsInternal(harness_.ended(1)->status));
  EXPECT_THAT(std::string(harness_.ended(1)->status.message()), HasSubstr("logits"));
  EXPECT_THAT(harness_.Tokens(1), ElementsAre(101)) << "the failed row's token means nothing";
  EXPECT_TRUE(harness_.ended(2)->status.ok());
  EXPECT_THAT(harness_.Tokens(2), ElementsAre(201, 202, 203, 204));
  EXPECT_EQ(harness_.stats().epochs, 1u);
}

TEST_F(CoreEndTest, AFailureOfALaneWithoutARowIsIgnored) {
  harness_.Submit(1, 2, 2);
  harness_.Tick();
  for (int32_t lane : {-1, 3, 4, 1000000}) {
    harness_.answers().front().failures.push_back({lane, "nobody's"});
  }
  harness_.Run();
  EXPECT_TRUE(harness_.ended(1)->status.ok());
}

TEST_F(CoreEndTest, LogprobsStayWithTheirTokens) {
  RequestSpec spec = harness_.Request(2, 2, 3);
  spec.log = std::make_shared<TokenLog>(true);
  spec.sampling.logprobs = 1;
  const std::shared_ptr<TokenLog> log = spec.log;
  harness_.Submit(1, 1, 3);  // does not ask for them; its rows come first
  harness_.Submit(std::move(spec));
  harness_.Run();
  TokenLog::Cursor cursor(log.get());
  for (int32_t expected : {201, 202, 203}) {
    TokenLogprobs logprobs;
    ASSERT_EQ(cursor.Next(&logprobs), expected);
    EXPECT_EQ(logprobs.logprob, sim::LogprobsOf(expected).logprob);
    ASSERT_EQ(logprobs.top.size(), 1u);
  }
}

}  // namespace
}  // namespace pagoda::core
