// The command line around the commands.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "common/version.h"
#include "tests/e2e/processes.h"
#include "tests/e2e/serve.h"

namespace pagoda::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(CommandTest, SaysItsVersion) {
  const Outcome outcome = RunPagoda({"--version"});
  EXPECT_EQ(outcome.end, "ended with status 0");
  EXPECT_EQ(outcome.out, std::string("pagoda ") + kVersion + "\n");
}

TEST(CommandTest, HelpListsTheCommands) {
  for (const char* argument : {"help", "--help", "-h"}) {
    const Outcome outcome = RunPagoda({argument});
    EXPECT_EQ(outcome.end, "ended with status 0");
    for (const char* command : {"serve MODEL", "generate", "doctor [MODEL]"}) {
      EXPECT_THAT(outcome.out, HasSubstr(command));
    }
  }
}

TEST(CommandTest, EveryCommandHasHelpFromItsFlagTable) {
  const Outcome serve = RunPagoda({"serve", "--help"});
  EXPECT_EQ(serve.end, "ended with status 0");
  EXPECT_THAT(serve.out, StartsWith("Usage: pagoda serve MODEL [flags]\n"));
  for (const char* flag : {"--host",
                           "--grpc-port",
                           "--block-size",
                           "--max-model-len",
                           "--max-num-seqs",
                           "--max-num-batched-tokens",
                           "--num-gpu-blocks-override",
                           "--kv-cache-memory-bytes",
                           "--[no-]async-scheduling",
                           "--step-timeout",
                           "--cpu-isa",
                           "--threads"}) {
    EXPECT_THAT(serve.out, HasSubstr(flag));
  }
  EXPECT_THAT(RunPagoda({"help", "generate"}).out, HasSubstr("--temperature X"));
  EXPECT_THAT(RunPagoda({"doctor", "-h"}).out, HasSubstr("[MODEL]"));
}

TEST(CommandTest, WrongCallsSayWhatIsWrongAndWhereHelpIs) {
  const Outcome none = RunPagoda({});
  EXPECT_EQ(none.end, "ended with status 2");
  EXPECT_THAT(none.err, HasSubstr("Usage: pagoda COMMAND"));
  const Outcome unknown = RunPagoda({"genrate"});
  EXPECT_EQ(unknown.end, "ended with status 2");
  EXPECT_EQ(unknown.err,
            "pagoda: no command 'genrate'; there are serve, generate, doctor\n"
            "see: pagoda --help\n");
  const Outcome flag = RunPagoda({"serve", kModel, "--max-num-seq=4"});
  EXPECT_EQ(flag.end, "ended with status 2");
  EXPECT_EQ(flag.err,
            "pagoda serve: unknown flag --max-num-seq; did you mean --max-num-seqs?\n"
            "see: pagoda serve --help\n");
  const Outcome number = RunPagoda({"generate", "--max-tokens", "-5"});
  EXPECT_EQ(number.end, "ended with status 2");
  EXPECT_THAT(number.err, HasSubstr("takes an integer from 1"));
  for (const Outcome& outcome : {none, unknown, flag, number}) EXPECT_EQ(outcome.out, "");
}

TEST(CommandTest, DoctorDescribesTheMachineAndWhetherAModelFits) {
  const Outcome machine = RunPagoda({"doctor"});
  EXPECT_EQ(machine.end, "ended with status 0") << machine.err;
  EXPECT_THAT(machine.out, HasSubstr("memory"));
  EXPECT_THAT(machine.out, HasSubstr("scalar"));
  EXPECT_THAT(machine.out, Not(HasSubstr("fits")));
  const Outcome model = RunPagoda({"doctor", kModel, "--cpu-isa=scalar"});
  EXPECT_EQ(model.end, "ended with status 0") << model.err;
  EXPECT_THAT(model.out, HasSubstr("in use: scalar"));
  EXPECT_THAT(model.out, HasSubstr("LlamaForCausalLM"));
  EXPECT_THAT(model.out, HasSubstr("fits           yes"));
  const Outcome missing = RunPagoda({"doctor", "/no/such/model"});
  EXPECT_EQ(missing.end, "ended with status 1");
  EXPECT_THAT(missing.err, HasSubstr("/no/such/model"));
}

}  // namespace
}  // namespace pagoda::e2e
