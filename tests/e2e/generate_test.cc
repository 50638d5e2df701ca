// pagoda generate, alone and with a server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "tests/e2e/processes.h"
#include "tests/e2e/serve.h"

namespace pagoda::e2e {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

constexpr char kCapital[] =
    "<|im_start|>user\nWhat is the capital of Cameroon?<|im_end|>\n<|im_start|>assistant\n";
constexpr char kAnswer[] = "The capital of Cameroon is Yaoundé.";

json Parse(const std::string& text) {
  return json::parse(text, nullptr, /*allow_exceptions=*/false);
}

TEST(GenerateTest, PrintsTheExpectedAnswersAndNothingElse) {
  std::string transcript;
  for (const json& question : Parse(ReadFile(absl::StrCat(kModel, "/questions.json")))) {
    const Outcome outcome =
        RunPagoda({"generate",
                   "--model",
                   kModel,
                   "--temperature=0",
                   absl::StrCat("--max-tokens=", question["max_tokens"].get<int>()),
                   "--prompt",
                   question["prompt"].get<std::string>()});
    EXPECT_EQ(outcome.end, "ended with status 0");
    EXPECT_EQ(outcome.err, "");
    EXPECT_FALSE(outcome.left_processes);
    absl::StrAppend(&transcript,
                    "# ",
                    question["name"].get<std::string>(),
                    "\n",
                    outcome.out,
                    "\n");
  }
  EXPECT_EQ(transcript, ReadFile(absl::StrCat(kModel, "/expected.txt")));
}

TEST(GenerateTest, JsonHasTheShapeOfOpenAisCompletions) {
  const Outcome outcome = RunPagoda({"generate",
                                     "--model",
                                     kModel,
                                     "--temperature=0",
                                     "--json",
                                     "--logprobs=2",
                                     "--prompt",
                                     kCapital});
  EXPECT_EQ(outcome.end, "ended with status 0");
  EXPECT_EQ(outcome.err, "");
  EXPECT_EQ(std::count(outcome.out.begin(), outcome.out.end(), '\n'), 1);
  const json object = Parse(outcome.out);
  ASSERT_TRUE(object.is_object()) << outcome.out;
  EXPECT_TRUE(absl::StartsWith(object["id"].get<std::string>(), "req-"));
  EXPECT_FALSE(object["system_fingerprint"].get<std::string>().empty());
  EXPECT_EQ(object["usage"]["prompt_tokens"], 15);
  EXPECT_EQ(object["usage"]["completion_tokens"], 8);
  EXPECT_EQ(object["usage"]["total_tokens"], 23);
  ASSERT_EQ(object["choices"].size(), 1u);
  const json& choice = object["choices"][0];
  EXPECT_EQ(choice["index"], 0);
  EXPECT_EQ(choice["text"], kAnswer);
  EXPECT_EQ(choice["finish_reason"], "stop");
  ASSERT_EQ(choice["token_ids"].size(), 8u);
  EXPECT_EQ(choice["token_ids"][7], 2028) << "the stop token is an id, but no text";
  EXPECT_EQ(choice["logprobs"]["tokens"].size(), 8u);
  EXPECT_EQ(choice["logprobs"]["token_logprobs"].size(), 8u);
  EXPECT_EQ(choice["logprobs"]["top_logprobs"][0].size(), 2u);
}

TEST(GenerateTest, AStopStringEndsTheTextBeforeIt) {
  const Outcome outcome = RunPagoda({"generate",
                                     "--model",
                                     kModel,
                                     "--temperature=0",
                                     "--stop=never",
                                     "--stop= Cameroon",
                                     "--prompt=-"},
                                    kCapital);
  EXPECT_EQ(outcome.out, "The capital of");
  EXPECT_EQ(outcome.end, "ended with status 0") << outcome.err;
}

TEST(GenerateTest, ASeedRepeatsTheDrawAndAnotherDoesNot) {
  Serve serve;
  const auto draw = [&serve](const std::string& seed) {
    const Outcome outcome = RunPagoda({"generate",
                                       "--connect",
                                       serve.address(),
                                       "--temperature=1.5",
                                       "--ignore-eos",
                                       "--max-tokens=40",
                                       "--prompt",
                                       kCapital,
                                       "--seed",
                                       seed});
    EXPECT_EQ(outcome.end, "ended with status 0") << outcome.err;
    return outcome.out;
  };
  const std::string first = draw("18446744073709551615");
  EXPECT_EQ(draw("18446744073709551615"), first);
  EXPECT_NE(draw("1"), first);
}

TEST(GenerateTest, AServersRefusalIsOneLine) {
  Serve serve;
  const Outcome outcome = RunPagoda(
      {"generate", "--connect", serve.address(), "--max-tokens=2000", "--prompt", kCapital});
  EXPECT_EQ(outcome.end, "ended with status 1");
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.err,
            "pagoda generate: max_tokens is 2000; it must be in [1, 1024], the context's length\n");
}

TEST(GenerateTest, APromptThatIsNotUtf8IsRefusedClearly) {
  const Outcome outcome =
      RunPagoda({"generate", "--model", kModel, "--prompt=-"}, "caf\xC3\xA9 \xE9t");
  EXPECT_EQ(outcome.end, "ended with status 1");
  EXPECT_EQ(outcome.err, "pagoda generate: the prompt is not UTF-8: byte 0xE9 at offset 6\n");
}

TEST(GenerateTest, NoServerIsKnownWithinTenSeconds) {
  const absl::Time start = RealClock()->Now();
  const Outcome outcome = RunPagoda({"generate", "--connect=127.0.0.1:1", "--prompt=x"});
  EXPECT_LT(RealClock()->Now() - start, absl::Seconds(10));
  EXPECT_EQ(outcome.end, "ended with status 1");
  EXPECT_THAT(outcome.err, HasSubstr("no Pagoda server at 127.0.0.1:1"));
}

TEST(GenerateTest, AReaderThatLeavesEndsItWithoutLeavingProcesses) {
  const std::string command =
      absl::StrCat(Program("pagoda"),
                   " generate --model ",
                   kModel,
                   " --prompt x --ignore-eos --max-tokens 900 | head -c 1 >/dev/null; "
                   "exit ${PIPESTATUS[0]}");
  const Outcome outcome = RunProgram({"/bin/bash", "-c", command});
  EXPECT_EQ(outcome.end, "ended with status 1");
  EXPECT_EQ(outcome.err, "pagoda generate: stdout: Broken pipe\n");
  EXPECT_FALSE(outcome.left_processes);
}

}  // namespace
}  // namespace pagoda::e2e
