#include "bench/kernels/cuda/report.h"

#include "absl/strings/str_format.h"

namespace pagoda::bench {
namespace {

constexpr double kGiga = 1e9, kTera = 1e12, kMicro = 1e-6;
constexpr char kNoGemm[] = "not measured: this build has no cuBLAS";

const char* NameOf(Limit limit) { return limit == Limit::kCopy ? "copy" : "GEMM"; }

std::string Rate(Limit limit, double rate) {
  return limit == Limit::kCopy ? absl::StrFormat("%.0f GB/s", rate / kGiga)
                               : absl::StrFormat("%.1f TFLOP/s", rate / kTera);
}

std::string Row(const Figure& figure) {
  std::string share = "not measured", first;
  if (figure.limit_rate > 0) {
    share = absl::StrFormat("%.1f %%", 100 * figure.rate / figure.limit_rate);
  }
  if (figure.against_first > 0) first = absl::StrFormat("%.3f", figure.against_first);
  return absl::StrFormat("| %s | %s | %.1f | %s | %s | %s | %s |\n",
                         figure.op,
                         figure.shape,
                         figure.seconds / kMicro,
                         Rate(figure.limit, figure.rate),
                         NameOf(figure.limit),
                         share,
                         first);
}

std::string Json(const Figure& figure) {
  const auto optional = [](double value) {
    return value > 0 ? absl::StrFormat("%.6g", value) : std::string("null");
  };
  const double share = figure.limit_rate > 0 ? figure.rate / figure.limit_rate : 0;
  return absl::StrFormat(R"({"op":"%s","shape":"%s","limit":"%s","repetitions":%d,"seconds":%.6g,)"
                         R"("fastest":%.6g,"slowest":%.6g,"rate":%.6g,"limit_rate":%s,"share":%s,)"
                         R"("against_first":%s})"
                         "\n",
                         figure.op,
                         figure.shape,
                         NameOf(figure.limit),
                         figure.repetitions,
                         figure.seconds,
                         figure.fastest,
                         figure.slowest,
                         figure.rate,
                         optional(figure.limit_rate),
                         optional(share),
                         optional(figure.against_first));
}

}  // namespace

std::string Table(const Report& report) {
  std::string text = absl::StrFormat(
      "%s, %d multiprocessors; copy bandwidth %s (read and written), GEMM rate %s\n\n",
      report.device,
      report.multiprocessors,
      Rate(Limit::kCopy, report.copy_rate),
      report.gemm_rate > 0 ? Rate(Limit::kGemm, report.gemm_rate) : kNoGemm);
  text += "| operation | shape | µs | rate | limit | share | time / first's |\n";
  text += "|---|---|---:|---:|---|---:|---:|\n";
  for (const Figure& figure : report.figures) text += Row(figure);
  return text;
}

std::string JsonLines(const Report& report) {
  std::string text =
      absl::StrFormat(R"({"device":"%s","multiprocessors":%d,"copy_rate":%.6g,"gemm_rate":%s})"
                      "\n",
                      report.device,
                      report.multiprocessors,
                      report.copy_rate,
                      report.gemm_rate > 0 ? absl::StrFormat("%.6g", report.gemm_rate) : "null");
  for (const Figure& figure : report.figures) text += Json(figure);
  return text;
}

}  // namespace pagoda::bench
