#include "client/cli/supervisor/log_line.h"

#include <gtest/gtest.h>

#include "common/log.h"

namespace pagoda {
namespace {

std::string Line(log::Format format, log::Severity severity) {
  return log::FormatLine(format,
                         severity,
                         absl::UnixEpoch(),
                         "worker",
                         "E",
                         {{"severity", "ERROR"}});
}

TEST(LogLine, OnlyErrorsOfTheLogAreErrorLines) {
  for (const log::Format format : {log::Format::kText, log::Format::kJson}) {
    EXPECT_TRUE(IsErrorLine(Line(format, log::Severity::kError)));
    EXPECT_FALSE(IsErrorLine(
        log::FormatLine(format, log::Severity::kInfo, absl::UnixEpoch(), "worker", "ERROR", {})));
    EXPECT_FALSE(IsErrorLine(
        log::FormatLine(format, log::Severity::kWarning, absl::UnixEpoch(), "E", "E", {})));
  }
}

TEST(LogLine, WhatIsNoLogIsAnErrorUnlessBlank) {
  EXPECT_TRUE(IsErrorLine("pool.cc:10: CHECK(x) failed"));
  EXPECT_TRUE(IsErrorLine("2026"));
  EXPECT_TRUE(IsErrorLine("2026-01-31T12:00:00.123456 I not our stamp"));
  EXPECT_FALSE(IsErrorLine(""));
  EXPECT_FALSE(IsErrorLine(" \t"));
}

TEST(LogLine, TheStampOfATextLineCanBeTakenOff) {
  EXPECT_EQ(WithoutStamp(Line(log::Format::kText, log::Severity::kError)),
            "worker E severity=ERROR");
  EXPECT_EQ(WithoutStamp("no stamp"), "no stamp");
  EXPECT_EQ(WithoutStamp(""), "");
}

}  // namespace
}  // namespace pagoda
