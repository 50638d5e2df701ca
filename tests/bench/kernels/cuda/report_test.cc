// What a report looks like, to people and to programs.
#include "bench/kernels/cuda/report.h"

#include <gtest/gtest.h>

namespace pagoda::bench {
namespace {

Report TwoFigures() {
  return {.device = "H9",
          .multiprocessors = 7,
          .copy_rate = 4e12,
          .gemm_rate = 8e14,
          .figures = {{.op = "copying",
                       .shape = "much",
                       .limit = Limit::kCopy,
                       .repetitions = 3,
                       .seconds = 2e-5,
                       .fastest = 1e-5,
                       .slowest = 3e-5,
                       .rate = 3e12,
                       .limit_rate = 4e12},
                      {.op = "multiplying",
                       .shape = "a lot",
                       .limit = Limit::kGemm,
                       .repetitions = 3,
                       .seconds = 4e-3,
                       .fastest = 4e-3,
                       .slowest = 5e-3,
                       .rate = 2e14,
                       .limit_rate = 8e14,
                       .against_first = 1.25}}};
}

TEST(BenchReport, ATableHasALineForEachFigure) {
  EXPECT_EQ(Table(TwoFigures()),
            "H9, 7 multiprocessors; copy bandwidth 4000 GB/s (read and written), GEMM rate 800.0 "
            "TFLOP/s\n"
            "\n"
            "| operation | shape | µs | rate | limit | share | time / first's |\n"
            "|---|---|---:|---:|---|---:|---:|\n"
            "| copying | much | 20.0 | 3000 GB/s | copy | 75.0 % |  |\n"
            "| multiplying | a lot | 4000.0 | 200.0 TFLOP/s | GEMM | 25.0 % | 1.250 |\n");
}

TEST(BenchReport, ProgramsReadALineForEachFigure) {
  EXPECT_EQ(JsonLines(TwoFigures()),
            R"({"device":"H9","multiprocessors":7,"copy_rate":4e+12,"gemm_rate":8e+14})"
            "\n"
            R"({"op":"copying","shape":"much","limit":"copy","repetitions":3,"seconds":2e-05,)"
            R"("fastest":1e-05,"slowest":3e-05,"rate":3e+12,"limit_rate":4e+12,"share":0.75,)"
            R"("against_first":null})"
            "\n"
            R"({"op":"multiplying","shape":"a lot","limit":"GEMM","repetitions":3,)"
            R"("seconds":0.004,"fastest":0.004,"slowest":0.005,"rate":2e+14,"limit_rate":8e+14,)"
            R"("share":0.25,"against_first":1.25})"
            "\n");
}

TEST(BenchReport, ALimitThatWasNotMeasuredIsSaid) {
  Report report = TwoFigures();
  report.gemm_rate = report.figures[1].limit_rate = 0;
  EXPECT_NE(Table(report).find("GEMM rate not measured: this build has no cuBLAS\n"),
            std::string::npos);
  EXPECT_NE(Table(report).find("| GEMM | not measured | 1.250 |\n"), std::string::npos);
  const std::string json = JsonLines(report);
  EXPECT_NE(json.find(R"("copy_rate":4e+12,"gemm_rate":null})"), std::string::npos);
  EXPECT_NE(json.find(R"("limit_rate":null,"share":null,"against_first":1.25})"),
            std::string::npos);
}

}  // namespace
}  // namespace pagoda::bench
