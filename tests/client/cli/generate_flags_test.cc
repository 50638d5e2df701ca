#include "client/cli/generate_flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pagoda {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class GenerateFlagsTest : public ::testing::Test {
 protected:
  absl::StatusOr<GenerateFlags> Where(const std::vector<std::string>& args) {
    absl::Status status = set_.flags()->Parse(args);
    if (!status.ok()) return status;
    return set_.Where();
  }
  std::string Refusal(const std::vector<std::string>& args) {
    GenerateFlagSet set;
    absl::Status status = set.flags()->Parse(args);
    if (status.ok()) status = set.Where().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  }

  GenerateFlagSet set_;
};

TEST_F(GenerateFlagsTest, WhatIsNotGivenStaysUnset) {
  const auto where = Where({"--model", "dir", "--prompt", "p"});
  ASSERT_TRUE(where.ok()) << where.status();
  EXPECT_EQ(where->model, "dir");
  EXPECT_FALSE(where->json);
  EXPECT_EQ(where->server.grpc_port, 0);
  const auto request = set_.Request();
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(std::get<std::string>(request->prompt), "p");
  EXPECT_FALSE(request->temperature || request->top_p || request->top_k || request->min_p);
  EXPECT_FALSE(request->seed || request->max_tokens || request->logprobs || request->n);
  EXPECT_FALSE(request->ignore_eos);
  EXPECT_FALSE(request->return_token_ids);
}

TEST_F(GenerateFlagsTest, EveryFlagReachesTheRequest) {
  ASSERT_TRUE(Where({"--connect=h:1",
                     "--prompt=",
                     "--max-tokens=4294967295",
                     "--temperature=0",
                     "--top-p=0.5",
                     "--top-k=-1",
                     "--min-p=0.25",
                     "--logprobs=0",
                     "--stop=a",
                     "--stop=b",
                     "--seed=18446744073709551615",
                     "--ignore-eos",
                     "--json"})
                  .ok());
  const auto request = set_.Request();
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(std::get<std::string>(request->prompt), "");
  EXPECT_EQ(request->max_tokens, 4294967295u);
  EXPECT_EQ(request->temperature, 0.0f);
  EXPECT_EQ(request->top_p, 0.5f);
  EXPECT_EQ(request->top_k, -1);
  EXPECT_EQ(request->min_p, 0.25f);
  EXPECT_EQ(request->logprobs, 0u);
  EXPECT_THAT(request->stop, ElementsAre("a", "b"));
  EXPECT_EQ(request->seed, ~uint64_t{0});
  EXPECT_TRUE(request->ignore_eos);
  EXPECT_TRUE(request->return_token_ids);
}

TEST_F(GenerateFlagsTest, ValuesThatCannotBeAreRefusedWithTheLimit) {
  EXPECT_THAT(Refusal({"--max-tokens", "-5"}),
              HasSubstr("--max-tokens takes an integer from 1 to 4294967295, got \"-5\""));
  EXPECT_THAT(Refusal({"--max-tokens", "99999999999"}), HasSubstr("4294967295"));
  EXPECT_THAT(Refusal({"--temperature", "nan"}), HasSubstr("--temperature takes a finite number"));
  EXPECT_THAT(Refusal({"--temperature", "-0.5"}), HasSubstr("of at least 0"));
  EXPECT_THAT(Refusal({"--top-p", "1.5"}), HasSubstr("from 0 to 1"));
  EXPECT_THAT(Refusal({"--top-k", "-2"}), HasSubstr("from -1"));
  EXPECT_THAT(Refusal({"--min-p", "2"}), HasSubstr("from 0 to 1"));
  EXPECT_THAT(Refusal({"--logprobs", "21"}), HasSubstr("from 0 to 20"));
}

TEST_F(GenerateFlagsTest, OneServerIsNeeded) {
  const char* const kOne = "takes one of --model DIR and --connect HOST:PORT";
  EXPECT_EQ(Refusal({"--prompt=p"}), kOne);
  EXPECT_EQ(Refusal({"--prompt=p", "--model=dir", "--connect=h:1"}), kOne);
}

TEST_F(GenerateFlagsTest, APromptIsNeeded) {
  EXPECT_EQ(Refusal({"--model=dir"}), "needs --prompt TEXT");
  EXPECT_THAT(Refusal({"--model=dir", "Hello"}), HasSubstr("got 'Hello'"));
}

TEST_F(GenerateFlagsTest, FlagsOfAPrivateServerAreNotIgnoredWithConnect) {
  EXPECT_THAT(Refusal({"--connect=h:1", "--prompt=p", "--dtype=float32"}),
              HasSubstr("--dtype=float32 is for a private server"));
  EXPECT_THAT(Refusal({"--connect=h:1", "--prompt=p", "--threads=3"}), HasSubstr("--threads=3"));
  EXPECT_EQ(Where({"--model=dir", "--prompt=p", "--threads=3"})->server.threads, 3);
}

TEST_F(GenerateFlagsTest, LogprobsNeedJson) {
  EXPECT_EQ(Refusal({"--model=dir", "--prompt=p", "--logprobs=1"}), "--logprobs needs --json");
}

}  // namespace
}  // namespace pagoda
