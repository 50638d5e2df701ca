#include "common/log.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace pagoda::log {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

constexpr absl::Time kTime = absl::UnixEpoch();

std::string Text(absl::string_view message, std::initializer_list<Field> fields) {
  return FormatLine(Format::kText, Severity::kInfo, kTime, "", message, fields);
}

std::string Json(absl::string_view message, std::initializer_list<Field> fields) {
  return FormatLine(Format::kJson, Severity::kInfo, kTime, "", message, fields);
}

TEST(LogFormatTest, TextLineHasTimeSeverityProcessMessageAndFields) {
  const absl::Time time = absl::FromUnixMicros(1'769'860'800'123'456);
  EXPECT_EQ(FormatLine(Format::kText,
                       Severity::kWarning,
                       time,
                       "worker-0",
                       "worker is late",
                       {{"rank", 3}, {"address", "unix:/tmp/w0"}}),
            "2026-01-31T12:00:00.123456Z W worker-0 worker is late rank=3 address=unix:/tmp/w0");
  EXPECT_EQ(Text("up", {}), "1970-01-01T00:00:00.000000Z I up");
  EXPECT_THAT(FormatLine(Format::kText, Severity::kError, kTime, "", "down", {}),
              EndsWith("Z E down"));
}

TEST(LogFormatTest, JsonLineHasTheSameParts) {
  EXPECT_EQ(FormatLine(Format::kJson,
                       Severity::kError,
                       kTime,
                       "worker-0",
                       "bad \"plan\"",
                       {{"step", 7}, {"why", "gap"}}),
            R"({"time":"1970-01-01T00:00:00.000000Z","severity":"ERROR","process":"worker-0",)"
            R"("message":"bad \"plan\"","step":7,"why":"gap"})");
  EXPECT_EQ(Json("up", {}),
            R"({"time":"1970-01-01T00:00:00.000000Z","severity":"INFO","message":"up"})");
}

TEST(LogFormatTest, ValuesPrintByType) {
  const std::string line = Json("m",
                                {{"i", -1},
                                 {"u", UINT64_MAX},
                                 {"b", true},
                                 {"d", 0.25},
                                 {"nan", std::numeric_limits<double>::quiet_NaN()},
                                 {"s", std::string("x")},
                                 {"v", std::string_view("y")},
                                 {"t", absl::Milliseconds(1500)}});
  EXPECT_THAT(line,
              EndsWith(R"("i":-1,"u":18446744073709551615,"b":true,"d":0.25,"nan":"nan",)"
                       R"("s":"x","v":"y","t":"1.5s"})"));
}

TEST(LogFormatTest, TextQuotesOnlyValuesThatNeedIt) {
  EXPECT_THAT(Text("m", {{"a", "naïve"}, {"b", "two words"}, {"c", ""}, {"d", "x=1"}, {"e", "\""}}),
              EndsWith(R"(m a=naïve b="two words" c="" d="x=1" e="\"")"));
}

TEST(LogFormatTest, NoInputForgesALineOrMovesATerminal) {
  const char* const evil = "x\n1970 I forged\r\x1b[2J\xff";
  EXPECT_THAT(Text(evil, {}), EndsWith(R"(I x\n1970 I forged\r\u001b[2J\xff)"));
  EXPECT_THAT(Text("m", {{"k", evil}}), EndsWith(R"(k="x\n1970 I forged\r\u001b[2J\\xff")"));
  EXPECT_THAT(Json(evil, {}), EndsWith(R"("message":"x\n1970 I forged\r\u001b[2J\\xff"})"));
  EXPECT_THAT(FormatLine(Format::kText, Severity::kInfo, kTime, "p\n", "m", {}),
              EndsWith(R"(I p\n m)"));
}

TEST(LogFormatTest, LongStringsAreCutAtACharacterAndSaySo) {
  std::string text(4095, 'a');
  text += "é and more";
  for (const std::string& line : {Text(text, {}), Text("m", {{"k", text}}), Json(text, {})}) {
    EXPECT_THAT(line, HasSubstr("aaa... (4106 bytes)"));
    EXPECT_THAT(line, Not(HasSubstr("\\x")));
    EXPECT_LT(line.size(), 4300u);
  }
  const std::string fits(4096, 'a');
  EXPECT_THAT(Text(fits, {}), EndsWith("I " + fits));
}

// Replaces stderr by one end of a socket that keeps the borders between writes.
class LogOutputTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets_.data()), 0);
    saved_ = dup(STDERR_FILENO);
    dup2(sockets_[0], STDERR_FILENO);
  }

  void TearDown() override {
    dup2(saved_, STDERR_FILENO);
    for (int fd : {saved_, sockets_[0], sockets_[1]}) close(fd);
    SetFormat(Format::kText);
    SetProcess("");
    SetMinSeverity(Severity::kInfo);
  }

  // What the next write(2) to stderr carried; empty when there was none.
  std::string NextWrite(int flags) {
    std::array<char, 65536> buffer;
    const ssize_t n = recv(sockets_[1], buffer.data(), buffer.size(), flags);
    return n > 0 ? std::string(buffer.data(), static_cast<size_t>(n)) : "";
  }

 private:
  std::array<int, 2> sockets_;
  int saved_;
};

TEST_F(LogOutputTest, ALineIsOneWrite) {
  SetProcess("coordinator");
  Info("worker ready", {{"rank", 0}, {"port", 5}});
  Warning("second");
  EXPECT_THAT(NextWrite(MSG_DONTWAIT),
              MatchesRegex("20.*Z I coordinator worker ready rank=0 port=5\n"));
  EXPECT_THAT(NextWrite(MSG_DONTWAIT), MatchesRegex("20.*Z W coordinator second\n"));
  EXPECT_EQ(NextWrite(MSG_DONTWAIT), "");
}

TEST_F(LogOutputTest, FormatAndLeastSeverityCanBeSet) {
  SetFormat(Format::kJson);
  SetMinSeverity(Severity::kWarning);
  Info("dropped");
  Warning("kept");
  EXPECT_THAT(NextWrite(MSG_DONTWAIT), EndsWith("\"message\":\"kept\"}\n"));
  SetMinSeverity(Severity::kError);
  Warning("dropped");
  Error("kept too");
  EXPECT_THAT(NextWrite(MSG_DONTWAIT), HasSubstr("kept too"));
  EXPECT_EQ(NextWrite(MSG_DONTWAIT), "");
}

TEST_F(LogOutputTest, LinesOfManyThreadsStayWhole) {
  constexpr int kThreads = 4;
  constexpr int kLines = 100;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < kLines; ++i) {
        SetProcess("p");
        Info("line", {{"thread", t}, {"end", "."}});
      }
    });
  }
  std::vector<int> lines(kThreads, 0);
  for (int i = 0; i < kThreads * kLines; ++i) {
    const std::string line = NextWrite(0);
    ASSERT_THAT(line, MatchesRegex("20.*Z I p line thread=[0-3] end=\\.\n"));
    ++lines[line[line.find('=') + 1] - '0'];
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(lines, std::vector<int>(kThreads, kLines));
}

}  // namespace
}  // namespace pagoda::log
