#include <cstdlib>

#include "common/flags.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace pagoda {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

using Args = std::vector<std::string>;

class FlagsParseTest : public testing::Test {
 protected:
  FlagsParseTest() {
    flags_.Add({.name = "max-num-seqs", .target = &seqs_, .min = 1, .max = 4096});
    flags_.Add({.name = "top-k", .target = &top_k_, .min = -1});
    flags_.Add({.name = "seed", .target = &seed_});
    flags_.Add({.name = "temperature", .target = &temperature_, .min = 0});
    flags_.Add({.name = "async-scheduling", .target = &async_});
    flags_.Add({.name = "host", .target = &host_});
    flags_.Add({.name = "cpu-isa", .target = &isa_, .choices = {"auto", "scalar", "avx2"}});
    flags_.Add({.name = "stop", .target = &stop_});
    flags_.Add({.name = "step-timeout", .target = &timeout_, .max = 3600});
    flags_.Add({.name = "kv-cache-memory-bytes", .target = ByteSize{&bytes_}, .min = 1024});
    flags_.Add({.name = "resume-grace", .target = &grace_});
    flags_.Add({.name = "help", .target = &help_});
  }

  ~FlagsParseTest() override {
    for (const char* name : {"PAGODA_MAX_NUM_SEQS", "PAGODA_HOST", "PAGODA_STOP"}) unsetenv(name);
  }

  std::string Error(const Args& args) {
    const absl::Status status = flags_.Parse(args);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  }

  FlagSet flags_;
  int seqs_ = 256;
  int64_t top_k_ = 0;
  uint64_t seed_ = 0;
  double temperature_ = 1;
  bool async_ = true;
  bool help_ = false;
  std::string host_ = "127.0.0.1";
  std::string isa_ = "auto";
  Args stop_ = {"default"};
  absl::Duration grace_;
  absl::Duration timeout_ = absl::Seconds(10);
  uint64_t bytes_ = 4096;
};

TEST_F(FlagsParseTest, DefaultsStayWithoutArguments) {
  ASSERT_TRUE(flags_.Parse({}).ok());
  EXPECT_EQ(seqs_, 256);
  EXPECT_THAT(stop_, ElementsAre("default"));
  EXPECT_FALSE(flags_.IsSet("max-num-seqs"));
  EXPECT_THAT(flags_.positional(), IsEmpty());
}

TEST_F(FlagsParseTest, EveryTypeTakesItsValueInBothForms) {
  ASSERT_TRUE(flags_
                  .Parse({"--max-num-seqs",
                          "8",
                          "--top-k=-1",
                          "--seed",
                          "18446744073709551615",
                          "--temperature=0.25",
                          "--host=a=b",
                          "--cpu-isa",
                          "avx2",
                          "--step-timeout",
                          "1m30s",
                          "--kv-cache-memory-bytes=1MiB"})
                  .ok());
  EXPECT_EQ(seqs_, 8);
  EXPECT_EQ(top_k_, -1);
  EXPECT_EQ(seed_, UINT64_MAX);
  EXPECT_EQ(temperature_, 0.25);
  EXPECT_EQ(host_, "a=b");
  EXPECT_EQ(isa_, "avx2");
  EXPECT_EQ(timeout_, absl::Seconds(90));
  EXPECT_EQ(bytes_, 1u << 20);
  EXPECT_TRUE(flags_.IsSet("top-k"));
}

TEST_F(FlagsParseTest, BoolsAreSetAndCleared) {
  ASSERT_TRUE(flags_.Parse({"--no-async-scheduling"}).ok());
  EXPECT_FALSE(async_);
  ASSERT_TRUE(flags_.Parse({"--async-scheduling"}).ok());
  EXPECT_TRUE(async_);
  ASSERT_TRUE(flags_.Parse({"--async-scheduling=false"}).ok());
  EXPECT_FALSE(async_);
  EXPECT_THAT(Error({"--async-scheduling=maybe"}),
              "--async-scheduling takes true or false, got \"maybe\"");
  EXPECT_EQ(Error({"--no-async-scheduling=true"}), "--no-async-scheduling takes no value");
}

TEST_F(FlagsParseTest, ABoolLeavesTheNextArgumentAlone) {
  ASSERT_TRUE(flags_.Parse({"--async-scheduling", "false"}).ok());
  EXPECT_TRUE(async_);
  EXPECT_THAT(flags_.positional(), ElementsAre("false"));
}

TEST_F(FlagsParseTest, ShortHelpIsHelp) {
  ASSERT_TRUE(flags_.Parse({"-h"}).ok());
  EXPECT_TRUE(help_);
}

TEST_F(FlagsParseTest, PositionalArgumentsKeepTheirOrder) {
  ASSERT_TRUE(flags_.Parse({"model", "--seed", "1", "-", "-5", "--", "--host", "-x"}).ok());
  EXPECT_THAT(flags_.positional(), ElementsAre("model", "-", "-5", "--host", "-x"));
  EXPECT_FALSE(flags_.IsSet("host"));
}

TEST_F(FlagsParseTest, AValueMayBeginWithDashes) {
  ASSERT_TRUE(flags_.Parse({"--host", "--", "--top-k", "-1", "--stop", "--seed"}).ok());
  EXPECT_EQ(host_, "--");
  EXPECT_EQ(top_k_, -1);
  EXPECT_THAT(stop_, ElementsAre("--seed"));
  EXPECT_FALSE(flags_.IsSet("seed"));
}

TEST_F(FlagsParseTest, RepeatedFlagsCollectInListsAndOverwriteElsewhere) {
  ASSERT_TRUE(
      flags_.Parse({"--stop", "a", "--seed=1", "--stop=", "--seed=2", "--stop", "b,c"}).ok());
  EXPECT_THAT(stop_, ElementsAre("a", "", "b,c"));
  EXPECT_EQ(seed_, 2u);
}

TEST_F(FlagsParseTest, UnknownFlagsNameTheNearest) {
  EXPECT_EQ(Error({"--max-num-seq=3"}), "unknown flag --max-num-seq; did you mean --max-num-seqs?");
  EXPECT_EQ(Error({"--max_num_seqs", "3"}),
            "unknown flag --max_num_seqs; did you mean --max-num-seqs?");
  EXPECT_EQ(Error({"-host"}), "unknown flag -host; did you mean --host?");
  EXPECT_EQ(Error({"--no-async-schedulin"}),
            "unknown flag --no-async-schedulin; did you mean --no-async-scheduling?");
  EXPECT_EQ(Error({"--quantum-entanglement"}), "unknown flag --quantum-entanglement");
  EXPECT_EQ(Error({"--no-host"}), "unknown flag --no-host; did you mean --host?");
  EXPECT_EQ(Error({"--=3"}), "unknown flag --");
}

TEST_F(FlagsParseTest, HugeOrHostileNamesStayShortAndOnOneLine) {
  EXPECT_LT(Error({"--" + std::string(1 << 20, 'x')}).size(), 300u);
  EXPECT_EQ(Error({"--a\nb\x1b"}), R"(unknown flag --a\nb\u001b)");
  EXPECT_LT(Error({"--seed", std::string(1 << 20, 'x')}).size(), 300u);
}

TEST_F(FlagsParseTest, ValueErrorsSayWhatLimitAndGot) {
  EXPECT_EQ(Error({"--max-num-seqs", "abc"}),
            R"(--max-num-seqs takes an integer from 1 to 4096, got "abc")");
  EXPECT_EQ(Error({"--max-num-seqs=0"}),
            R"(--max-num-seqs takes an integer from 1 to 4096, got "0")");
  EXPECT_EQ(Error({"--max-num-seqs=4097"}),
            R"(--max-num-seqs takes an integer from 1 to 4096, got "4097")");
  EXPECT_EQ(Error({"--top-k=-2"}), R"(--top-k takes an integer of at least -1, got "-2")");
  EXPECT_EQ(Error({"--cpu-isa=sse"}), R"(--cpu-isa takes one of auto, scalar, avx2, got "sse")");
  EXPECT_EQ(Error({"--step-timeout=2h"}),
            R"(--step-timeout takes a duration (2s, 500ms) from 0 to 1h, got "2h")");
  EXPECT_EQ(
      Error({"--kv-cache-memory-bytes=1000"}),
      R"(--kv-cache-memory-bytes takes a size (4GiB, 512MB, 4096) of at least 1KiB, got "1000")");
  EXPECT_EQ(Error({"--host"}), "--host needs a value: TEXT");
}

TEST_F(FlagsParseTest, NumbersThatAreNoneAreRefused) {
  for (const char* bad : {"", " ", "1.5", "0x10", "1e3", "99999999999999999999", "-1", "1 2"}) {
    EXPECT_THAT(Error({"--seed", bad}), HasSubstr("takes an integer of at least 0")) << bad;
  }
  for (const char* bad : {"", "nan", "inf", "-inf", "1e999", "-0.1", "1,5"}) {
    EXPECT_THAT(Error({"--temperature", bad}), HasSubstr("takes a finite number of at least 0"))
        << bad;
  }
  for (const char* bad : {"", "10", "-1s", "inf", "2 s", "2parsecs"}) {
    EXPECT_THAT(Error({"--resume-grace", bad}), HasSubstr("takes a duration")) << bad;
  }
  EXPECT_EQ(Error({"--max-num-seqs=2147483648"}).find("takes an integer"), 15u);
}

TEST_F(FlagsParseTest, BoundsAreInclusive) {
  ASSERT_TRUE(flags_.Parse({"--max-num-seqs=4096", "--step-timeout=1h", "--resume-grace=0"}).ok());
  EXPECT_EQ(seqs_, 4096);
  EXPECT_EQ(timeout_, absl::Hours(1));
  ASSERT_TRUE(flags_.Parse({"--max-num-seqs=1", "--kv-cache-memory-bytes=1KiB"}).ok());
  EXPECT_EQ(seqs_, 1);
  EXPECT_EQ(bytes_, 1024u);
}

TEST_F(FlagsParseTest, AFailedFlagKeepsItsTarget) {
  Error({"--max-num-seqs=5000"});
  Error({"--temperature=nan"});
  Error({"--cpu-isa=sse"});
  EXPECT_EQ(seqs_, 256);
  EXPECT_EQ(temperature_, 1);
  EXPECT_EQ(isa_, "auto");
}

TEST_F(FlagsParseTest, SizesTakeBinaryAndDecimalUnits) {
  const std::pair<const char*, uint64_t> kSizes[] = {
      {"4096", 4096},
      {"4096B", 4096},
      {"2kB", 2000},
      {"2KiB", 2048},
      {"512MB", 512'000'000},
      {"4GiB", uint64_t{4} << 30},
      {"4gib", uint64_t{4} << 30},
      {"1.5GiB", uint64_t{3} << 29},
      {"1TB", 1'000'000'000'000},
      {"2TiB", uint64_t{2} << 40},
      {"18446744073709551615", UINT64_MAX},
  };
  for (const auto& [text, bytes] : kSizes) {
    ASSERT_TRUE(flags_.Parse({"--kv-cache-memory-bytes", text}).ok()) << text;
    EXPECT_EQ(bytes_, bytes) << text;
  }
}

TEST(FlagSetTest, ASizeOf2To64IsRefusedWithoutBoundsToo) {
  FlagSet flags;
  uint64_t bytes = 7;
  flags.Add({.name = "size", .target = ByteSize{&bytes}});
  EXPECT_FALSE(flags.Parse({"--size=16777216TiB"}).ok());
  EXPECT_FALSE(flags.Parse({"--size=16777216.0TiB"}).ok());
  EXPECT_EQ(bytes, 7u);
  EXPECT_TRUE(flags.Parse({"--size=16777215.5TiB"}).ok());
  EXPECT_EQ(bytes, UINT64_MAX - (uint64_t{1} << 39) + 1);
}

TEST_F(FlagsParseTest, SizesThatAreNoneOrOverflowAreRefused) {
  for (const char* bad : {"",
                          "GiB",
                          "4G",
                          "4.5",
                          "-1GiB",
                          "1..5GiB",
                          "nanGiB",
                          "1e3MiB",
                          "infB",
                          "16777216TiB",
                          "16777216.0TiB",
                          "16777217TiB",
                          "16777217.5TiB",
                          "18446744073709551616",
                          "4GiBs"}) {
    EXPECT_THAT(Error({"--kv-cache-memory-bytes", bad}), HasSubstr("takes a size")) << bad;
  }
}

TEST_F(FlagsParseTest, EnvironmentFillsUnsetFlagsOnly) {
  setenv("PAGODA_MAX_NUM_SEQS", "16", 1);
  setenv("PAGODA_HOST", "0.0.0.0", 1);
  setenv("PAGODA_STOP", "x,y", 1);
  ASSERT_TRUE(flags_.Parse({"--host", "::1"}).ok());
  EXPECT_EQ(seqs_, 16);
  EXPECT_TRUE(flags_.IsSet("max-num-seqs"));
  EXPECT_EQ(host_, "::1");
  EXPECT_THAT(stop_, ElementsAre("x,y"));
}

TEST_F(FlagsParseTest, EmptyEnvironmentIsUnsetAndABadOneIsNamed) {
  setenv("PAGODA_MAX_NUM_SEQS", "", 1);
  ASSERT_TRUE(flags_.Parse({}).ok());
  EXPECT_EQ(seqs_, 256);
  setenv("PAGODA_MAX_NUM_SEQS", "many", 1);
  EXPECT_THAT(Error({}),
              AllOf(HasSubstr("PAGODA_MAX_NUM_SEQS takes an integer"), Not(HasSubstr("--"))));
}

TEST(FlagSetDeathTest, AWrongTableIsABug) {
  FlagSet flags;
  int n = 0;
  flags.Add({.name = "n", .target = &n});
  EXPECT_DEATH(flags.Add({.name = "n", .target = &n}), "added twice");
  EXPECT_DEATH(flags.Add({.name = "no-n", .target = &n}), "cleared");
  EXPECT_DEATH(flags.Add({.name = "Max_N", .target = &n}), "Max_N");
  EXPECT_DEATH(flags.Add({.name = "m"}), "no variable");
  EXPECT_DEATH(flags.Add({.name = "m", .target = ByteSize{}}), "no variable");
  EXPECT_DEATH(flags.Add({.name = "m", .target = &n, .choices = {"1"}}), "CHECK");
  EXPECT_DEATH(flags.IsSet("m"), "CHECK");
}

}  // namespace
}  // namespace pagoda
