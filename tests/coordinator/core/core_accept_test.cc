// The way in: refusals, the queue, the order of journal records.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/coordinator/core/core_harness.h"

namespace pagoda::core {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string Message(const CoreHarness& harness, uint64_t id) {
  return std::string(harness.ended(id)->status.message());
}

TEST(CoreAcceptTest, WithoutAWorkerNothingIsAccepted) {
  CoreHarness harness;
  harness.Submit(1, 2, 3);
  ASSERT_NE(harness.ended(1), nullptr);
  EXPECT_TRUE(absl::IsUnavailable(harness.ended(1)->status));
  EXPECT_THAT(Message(harness, 1), HasSubstr("no worker"));
  EXPECT_TRUE(harness.core().idle());
}

TEST(CoreAcceptTest, APromptOverTheContextIsRefusedWithTheLimit) {
  CoreHarness harness;
  harness.Open({.num_blocks = 100,
                .block_size = 2,
                .max_lanes = 4,
                .max_step_tokens = 8,
                .max_model_len = 32});
  harness.Submit(1, 30, 3);
  EXPECT_TRUE(absl::IsInvalidArgument(harness.ended(1)->status));
  EXPECT_EQ(Message(harness, 1),
            "prompt (30 tokens) + max_tokens (3) = 33 exceeds the context of 32 tokens");
  harness.Submit(2, 30, 2);
  EXPECT_EQ(harness.ended(2), nullptr) << "exactly the context";
}

TEST(CoreAcceptTest, OnlyWhatThePoolCanNeverHoldIsRefused) {
  CoreHarness harness;
  harness.Open();  // 8 blocks of 2; the last drawn token needs no KV
  harness.Submit(1, 10, 8);
  EXPECT_TRUE(absl::IsInvalidArgument(harness.ended(1)->status));
  EXPECT_THAT(Message(harness, 1), HasSubstr("can never fit the KV pool of 16 tokens"));
  harness.Submit(2, 10, 7);
  EXPECT_EQ(harness.ended(2), nullptr);
  harness.Run();
  EXPECT_EQ(harness.Tokens(2).size(), 7u);
}

TEST(CoreAcceptTest, HugeMaxTokensDoNotOverflow) {
  CoreHarness harness;
  harness.Open();
  harness.Submit(1, 2, 0xffffffffu);
  EXPECT_TRUE(absl::IsInvalidArgument(harness.ended(1)->status));
  EXPECT_THAT(Message(harness, 1), HasSubstr("4294967297"));
}

TEST(CoreAcceptTest, AFullQueueIsRefusedWithTheLimitAndARetryHint) {
  CoreHarness harness({.max_queued_requests = 2});
  harness.Open();
  harness.Submit(1, 1, 1);
  harness.Submit(2, 1, 1);
  harness.Submit(3, 1, 1);
  EXPECT_TRUE(absl::IsResourceExhausted(harness.ended(3)->status));
  EXPECT_EQ(Message(harness, 3), "2 requests are waiting, the limit is 2: try again in 1 s");
  harness.Tick();  // both run now
  harness.Submit(4, 1, 1);
  EXPECT_EQ(harness.ended(4), nullptr);
}

TEST(CoreAcceptTest, RequestsWhoseRecordIsNotDurableCountAsQueued) {
  CoreHarness harness({.max_queued_requests = 1});
  harness.set_journal_at_once(false);
  harness.Open();
  harness.Submit(1, 1, 1);
  EXPECT_EQ(harness.stats().waiting, 1u);
  harness.Submit(2, 1, 1);
  EXPECT_TRUE(absl::IsResourceExhausted(harness.ended(2)->status));
}

TEST(CoreAcceptTest, ADrainingServerRefusesAndFinishesWhatItHas) {
  CoreHarness harness;
  harness.Open();
  harness.Submit(1, 2, 3);
  harness.Apply(Drain{});
  EXPECT_TRUE(harness.stats().draining);
  harness.Submit(2, 2, 3);
  EXPECT_TRUE(absl::IsUnavailable(harness.ended(2)->status));
  EXPECT_THAT(Message(harness, 2), HasSubstr("draining"));
  harness.Run();
  EXPECT_TRUE(harness.ended(1)->status.ok());
  EXPECT_THAT(harness.Tokens(1), ElementsAre(101, 102, 103));
  EXPECT_TRUE(harness.core().idle());
}

TEST(CoreAcceptTest, DurableThenAcknowledgedThenScheduled) {
  CoreHarness harness;
  harness.set_journal_at_once(false);
  harness.Open();
  EXPECT_THAT(harness.Submit(1, 2, 3), ElementsAre("append 1 accept 1"));
  EXPECT_THAT(harness.Tick(), IsEmpty()) << "not before it is durable";
  EXPECT_THAT(harness.Durable(), ElementsAre("emit 1 0"));
  EXPECT_THAT(harness.Tick(),
              ElementsAre("plan 1s: bind 0 [1 1]; append 0 1; chunk 0 2", "plan 2: append 0 2"));
}

TEST(CoreAcceptTest, TheEndIsDurableBeforeItIsTold) {
  CoreHarness harness;
  harness.Open();
  harness.Submit(1, 2, 1);
  harness.Tick();
  harness.set_journal_at_once(false);
  EXPECT_THAT(harness.Answer(), ElementsAre("emit 1 1", "append 2 end 1"));
  EXPECT_FALSE(harness.core().idle());
  EXPECT_THAT(harness.Durable(), ElementsAre("end 1 OK length 1"));
  EXPECT_TRUE(harness.core().idle());
}

TEST(CoreAcceptTest, ACancelBeforeTheAcceptIsDurableEndsWithoutAcknowledgement) {
  CoreHarness harness;
  harness.set_journal_at_once(false);
  harness.Open();
  harness.Submit(1, 2, 3);
  EXPECT_THAT(harness.Cancel(1), ElementsAre("append 2 end 1"));
  EXPECT_EQ(harness.stats().waiting, 0u);
  EXPECT_THAT(harness.Apply(JournalDurable{1}), IsEmpty());
  EXPECT_THAT(harness.Apply(JournalDurable{2}), ElementsAre("end 1 OK cancelled 0"));
  EXPECT_THAT(harness.Tick(), IsEmpty());
}

TEST(CoreAcceptTest, OnePositionCoversEveryRecordBeforeIt) {
  CoreHarness harness;
  harness.set_journal_at_once(false);
  harness.Open();
  harness.Submit(1, 2, 3);
  harness.Submit(2, 2, 3);
  harness.Submit(3, 2, 3);
  EXPECT_THAT(harness.Apply(JournalDurable{2}), ElementsAre("emit 1 0", "emit 2 0"));
  EXPECT_THAT(harness.Apply(JournalDurable{2}), IsEmpty()) << "said twice";
  EXPECT_THAT(harness.Apply(JournalDurable{3}), ElementsAre("emit 3 0"));
}

// The pool shrinks while an accept record is on its way to the disk.
TEST(CoreAcceptTest, ARequestThatFitsNoLongerWhenItIsAcceptedEnds) {
  CoreHarness harness;
  harness.Open();
  harness.set_journal_at_once(false);
  harness.Submit(1, 10, 7);
  harness.Lose();
  harness.Open({.num_blocks = 2,
                .block_size = 2,
                .max_lanes = 4,
                .max_step_tokens = 8,
                .max_model_len = 32});
  harness.set_journal_at_once(true);
  harness.Durable();
  harness.Submit(2, 2, 1);
  harness.Run();
  ASSERT_NE(harness.ended(1), nullptr) << "it would wait for ever";
  EXPECT_FALSE(harness.ended(1)->status.ok());
  EXPECT_THAT(Message(harness, 1), HasSubstr("KV pool of 2 blocks"));
  ASSERT_NE(harness.ended(2), nullptr) << "and nobody behind it would run";
  EXPECT_TRUE(harness.ended(2)->status.ok());
}

using CoreAcceptDeathTest = ::testing::Test;

TEST(CoreAcceptDeathTest, AnIdThatLivesIsNotSubmittedTwice) {
  CoreHarness harness;
  harness.Open();
  harness.Submit(1, 2, 3);
  EXPECT_DEATH(harness.Submit(1, 2, 3), "submitted twice");
}

}  // namespace
}  // namespace pagoda::core
