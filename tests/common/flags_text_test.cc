#include "absl/strings/str_split.h"
#include "common/flags.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace pagoda {
namespace {

using ::testing::HasSubstr;

struct Options {
  int seqs = 256;
  bool async = true;
  std::string isa = "auto";
  uint64_t bytes = 0;
  absl::Duration timeout = absl::Seconds(10);
  std::vector<std::string> stop;
  std::string host = "127.0.0.1";
  double temperature = 0.1;
};

// Rows of two groups, not in group order.
FlagSet Table(Options* options) {
  FlagSet flags;
  flags.Add({.name = "max-num-seqs",
             .group = "Scheduling",
             .target = &options->seqs,
             .help = "Sequences that run at once.",
             .unit = "sequences"});
  flags.Add({.name = "cpu-isa",
             .group = "CPU",
             .target = &options->isa,
             .help = "Vector instructions in use.",
             .choices = {"auto", "scalar"}});
  flags.Add({.name = "async-scheduling",
             .group = "Scheduling",
             .target = &options->async,
             .help = "Plan a step while the last one runs."});
  flags.Add({.name = "kv-cache-memory-bytes",
             .group = "CPU",
             .target = ByteSize{&options->bytes},
             .help = "Memory for KV blocks.",
             .placeholder = "BYTES",
             .unit = "bytes",
             .default_text = "half of what is left"});
  flags.Add({.name = "stop", .group = "CPU", .target = &options->stop, .help = "Ends a text."});
  return flags;
}

TEST(FlagsTextTest, HelpIsAlignedAndGroupedInOrderOfFirstRows) {
  Options options;
  EXPECT_EQ(Table(&options).Help(),
            R"(Scheduling:
  --max-num-seqs N               Sequences that run at once. [256 sequences]
  --[no-]async-scheduling        Plan a step while the last one runs. [true]

CPU:
  --cpu-isa auto|scalar          Vector instructions in use. [auto]
  --kv-cache-memory-bytes BYTES  Memory for KV blocks. [half of what is left]
  --stop TEXT                    Ends a text.
)");
}

TEST(FlagsTextTest, DefaultsAreThoseBeforeParsing) {
  Options options;
  FlagSet flags = Table(&options);
  ASSERT_TRUE(flags.Parse({"--max-num-seqs=7"}).ok());
  EXPECT_THAT(flags.Help(), HasSubstr("[256 sequences]"));
  EXPECT_THAT(flags.Markdown(), HasSubstr("| 256 sequences |"));
}

TEST(FlagsTextTest, LongHelpWrapsInsideItsColumn) {
  int n = 1;
  std::string help;
  for (int i = 0; i < 40; ++i) help += "words ";
  FlagSet flags;
  flags.Add({.name = "n", .group = "G", .target = &n, .help = help});
  flags.Add({.name = "a-name-that-is-longer-than-the-left-column-may-be",
             .group = "G",
             .target = &n,
             .help = "Below."});
  const std::vector<std::string> lines = absl::StrSplit(flags.Help(), '\n', absl::SkipEmpty());
  ASSERT_GE(lines.size(), 6u);
  EXPECT_EQ(lines[1].substr(0, 13), "  --n N  word");
  EXPECT_EQ(lines[2].substr(0, 13), "         word");
  for (const std::string& line : lines) {
    EXPECT_LE(line.size(), 100u) << line;
    EXPECT_NE(line.back(), ' ') << line;
  }
  EXPECT_EQ(lines[lines.size() - 2], "  --a-name-that-is-longer-than-the-left-column-may-be N");
  EXPECT_EQ(lines.back(), "         Below. [1]");
}

TEST(FlagsTextTest, MarkdownHasATablePerGroup) {
  Options options;
  EXPECT_EQ(Table(&options).Markdown(),
            R"(### Scheduling

| Flag | Default | Meaning |
|---|---|---|
| `--max-num-seqs N` | 256 sequences | Sequences that run at once. |
| `--[no-]async-scheduling` | true | Plan a step while the last one runs. |

### CPU

| Flag | Default | Meaning |
|---|---|---|
| `--cpu-isa auto\|scalar` | auto | Vector instructions in use. |
| `--kv-cache-memory-bytes BYTES` | half of what is left | Memory for KV blocks. |
| `--stop TEXT` | – | Ends a text. |
)");
}

TEST(FlagsTextTest, YamlShowsTheValuesInForce) {
  Options options;
  FlagSet flags = Table(&options);
  ASSERT_TRUE(flags
                  .Parse({"--max-num-seqs=7",
                          "--no-async-scheduling",
                          "--stop=a\n",
                          "--stop=\"",
                          "--kv-cache-memory-bytes=1536MiB"})
                  .ok());
  EXPECT_EQ(flags.Yaml(),
            R"(# Scheduling
max-num-seqs: 7
async-scheduling: false
# CPU
cpu-isa: "auto"
kv-cache-memory-bytes: 1536MiB
stop: ["a\n", "\""]
)");
}

TEST(FlagsTextTest, ValuesShowAsTheyWouldBeTyped) {
  Options options;
  options.bytes = 1000;
  FlagSet flags;
  flags.Add({.name = "step-timeout", .group = "G", .target = &options.timeout});
  flags.Add({.name = "temperature", .group = "G", .target = &options.temperature});
  flags.Add({.name = "bytes", .group = "G", .target = ByteSize{&options.bytes}});
  EXPECT_EQ(flags.Yaml(), "# G\nstep-timeout: 10s\ntemperature: 0.1\nbytes: 1000\n");
  options.timeout = absl::Milliseconds(1500);
  options.temperature = 1.0 / 3;
  options.bytes = uint64_t{1} << 40;
  EXPECT_EQ(flags.Yaml(),
            "# G\nstep-timeout: 1.5s\ntemperature: 0.3333333333333333\nbytes: 1TiB\n");
  options.bytes = 0;
  EXPECT_THAT(flags.Yaml(), HasSubstr("bytes: 0\n"));
}

}  // namespace
}  // namespace pagoda
