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

std::string Error(absl::string_view message, std::initializer_list<log::Field> fields = {}) {
  return ErrorText(log::FormatLine(log::Format::kText,
                                   log::Severity::kError,
                                   absl::UnixEpoch(),
                                   "worker",
                                   message,
                                   fields));
}

TEST(LogLine, AnErrorSaysItsReasonAlone) {
  EXPECT_EQ(Error("worker ends", {{"reason", "no such \"file\" C:\\x"}, {"code", 5}}),
            "no such \"file\" C:\\x");
  EXPECT_EQ(Error("worker ends", {{"reason", "short"}, {"code", 5}}), "short");
}

TEST(LogLine, AnErrorWithoutReasonSaysItsMessage) {
  EXPECT_EQ(Error("the device is lost", {{"code", 5}}), "the device is lost code=5");
}

TEST(LogLine, ALineInAnotherFormatSaysAllOfIt) {
  EXPECT_EQ(ErrorText("pool.cc:10: CHECK(x) reason=y"), "pool.cc:10: CHECK(x) reason=y");
  EXPECT_EQ(ErrorText(""), "");
  const std::string json = Line(log::Format::kJson, log::Severity::kError);
  EXPECT_EQ(ErrorText(json), json);
}

}  // namespace
}  // namespace pagoda
